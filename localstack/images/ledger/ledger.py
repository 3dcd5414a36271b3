"""The ledger: an application that keeps what it has to remember in its database, by way of `sql`.

    /      writes an entry, and tells how many there are, as JSON
    /up    200 while the database answers; what it says otherwise is on standard error
"""

import json
import socket
import subprocess


def app(environ, start_response):
    if environ["PATH_INFO"] == "/up":
        return reply(start_response, sql("SELECT count(*) FROM entries"))
    if environ["PATH_INFO"] == "/":
        write = f"INSERT INTO entries (writer) VALUES ('{socket.gethostname()}')"
        return reply(start_response, sql(write, "SELECT count(*) FROM entries"))
    start_response("404 Not Found", [("Content-Length", "0")])
    return [b""]


def sql(*statements):
    """The number that the database answers with, or None."""
    done = subprocess.run(["sql", *statements], stdout=subprocess.PIPE, text=True)
    return int(done.stdout) if done.returncode == 0 else None


def reply(start_response, entries):
    body = json.dumps({"entries": entries}).encode() + b"\n"
    status = "503 Service Unavailable" if entries is None else "200 OK"
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
