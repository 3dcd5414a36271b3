"""The shop: the application that the tests run, swap and load.

    /            what answered, as JSON; counts the hit in Redis, if there is one
    /up          200, or 404 while this server is about to stop (see gunicorn.conf.py)
    /slow?ms=N   answers after N milliseconds
"""

import json
import os
import socket
import time
from urllib.parse import parse_qs

import redis_line
from release import FAULT, RELEASE

LEAVING = "/run/shop.leaving"

IDENTITY = {
    "version": os.environ.get("VERSION", RELEASE),
    "hostname": socket.gethostname(),
    "release_tag": os.environ.get("RELEASE_TAG"),
}


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/up":
        return reply(start_response, *health())
    if path == "/slow":
        query = parse_qs(environ.get("QUERY_STRING", ""))
        time.sleep(int(query.get("ms", ["1000"])[0]) / 1000)
    elif path != "/":
        return reply(start_response, "404 Not Found", {"error": "no such page"})
    return reply(start_response, "200 OK", IDENTITY | {"hits": redis_line.command("INCR", "hits")})


def health():
    if FAULT == "sick":
        return "503 Service Unavailable", {"up": False, "error": "the shop is sick"}
    if os.path.exists(LEAVING):
        return "404 Not Found", {"up": False, "error": "about to stop"}
    return "200 OK", {"up": True}


def reply(start_response, status, body):
    body = json.dumps(body).encode() + b"\n"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
