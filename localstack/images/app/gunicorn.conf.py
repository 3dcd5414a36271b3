"""How gunicorn serves the shop; `gunicorn --bind … shop:app` overrides.

DRAIN_SECONDS (0 if unset): how long the server goes on serving after SIGTERM, while /up already answers 404.
A balancer in front that checks /up stops sending within one check. Without it, connections that wait in the
socket's queue when the server stops are reset: whoever sent them sees an error.
"""

import os
import signal

LEAVING = "/run/shop.leaving"
BOUND = "/run/shop.bound"

bind = "0.0.0.0:8080"
worker_class = "gthread"
threads = 16
keepalive = 0  # a kept connection may be reused at the very moment that it is closed
graceful_timeout = 25
worker_tmp_dir = "/dev/shm"
loglevel = "warning"


def on_starting(server):
    from release import FAULT, RELEASE

    if FAULT == "broken":
        raise SystemExit("shop: config/shop.ini: no such file")
    server.log.warning("shop %s starts", RELEASE)
    for left_by_the_last_run in (LEAVING, BOUND):
        if os.path.exists(left_by_the_last_run):
            os.unlink(left_by_the_last_run)


def when_ready(server):
    seconds = float(os.environ.get("DRAIN_SECONDS", "0"))
    if seconds > 0:
        stop = signal.getsignal(signal.SIGTERM)

        def leave(*_):
            with open(LEAVING, "w"):
                pass
            signal.signal(signal.SIGALRM, lambda _, frame: stop(signal.SIGTERM, frame))
            signal.setitimer(signal.ITIMER_REAL, seconds)

        signal.signal(signal.SIGTERM, leave)
    with open(BOUND, "w") as bound:
        for address in server.address:
            bound.write(f"{address if isinstance(address, str) else '%s:%s' % address}\n")
