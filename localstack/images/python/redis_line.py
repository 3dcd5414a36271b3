"""Just enough of a Redis client, for a server that may be away.

The server is REDIS_HOST (or what a container link called "redis" says), port REDIS_PORT or 6379.
"""

import os
import socket
import threading
import time

PATIENCE = 0.25  # seconds, to connect and to answer
RETRY_AFTER = 1.0  # seconds without a try once it is seen to be away

_mine = threading.local()
_away_until = 0.0


def command(*words):
    """The answer of a command that answers with one line, or None if Redis is away."""
    global _away_until
    if address() is None or time.monotonic() < _away_until:
        return None
    request = f"*{len(words)}\r\n" + "".join(f"${len(str(w).encode())}\r\n{w}\r\n" for w in words)
    for _ in range(2):  # the connection kept from last time may have been closed since
        fresh = getattr(_mine, "stream", None) is None
        try:
            if fresh:
                _mine.stream = socket.create_connection(address(), PATIENCE).makefile("rwb")
            _mine.stream.write(request.encode())
            _mine.stream.flush()
            line = _mine.stream.readline()
            if line.endswith(b"\r\n"):
                return int(line[1:]) if line[:1] == b":" else line[1:].strip().decode()
        except OSError:
            pass
        _mine.stream = None
        if fresh:
            break
    _away_until = time.monotonic() + RETRY_AFTER
    return None


def address():
    host = os.environ.get("REDIS_HOST") or os.environ.get("REDIS_PORT_6379_TCP_ADDR")
    port = os.environ.get("REDIS_PORT", "6379")  # a link sets this one to a URL
    return (host, int(port) if port.isdigit() else 6379) if host else None
