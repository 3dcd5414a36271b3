"""What balancer and engines really did, and when: asked of themselves, not of who commands them."""

import json
import socket
import threading
import time

from fleet import Engine

EVERY = 0.02  # seconds; HAProxy has no event for it
EVENTS = ["create", "rename", "start", "stop", "health_status: healthy"]
# Of srv_admin_state, see "show servers state" in HAProxy's management guide.
MAINTENANCE, DRAIN = 0x21, 0x18
RUNNING = 2


def standings(haproxy_socket: str) -> dict[str, str]:
    """By the address of each instance: `in` service, `entering`, `draining` or `out`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(haproxy_socket)
        connection.sendall(b"show servers state health\n")
        lines = b"".join(iter(lambda: connection.recv(65536), b"")).decode().splitlines()
    names = lines[1].lstrip("# ").split()
    rows = [dict(zip(names, line.split())) for line in lines[2:] if line]
    return {row["srv_addr"]: _standing(int(row["srv_admin_state"]), int(row["srv_op_state"])) for row in rows}


def _standing(admin: int, operational: int) -> str:
    if admin & MAINTENANCE:
        return "out"
    if admin & DRAIN:
        return "draining"
    return "in" if operational == RUNNING else "entering"


class Watch:
    """Follows them until it is stopped. Both lists are of (second since 1970, what), in order."""

    def __init__(self, haproxy_socket: str, engines: list[Engine]):
        self.socket = haproxy_socket
        self.standings: dict[str, list[tuple[float, str]]] = {engine.hostname: [] for engine in engines}
        self.events: dict[str, list[tuple[float, str]]] = {engine.hostname: [] for engine in engines}
        self.trouble: Exception | None = None
        self.over = threading.Event()
        since = f"{time.time():.6f}"
        words = [word for event in EVENTS for word in ("--filter", f"event={event}")]
        events = ["events", "--since", since, "--filter", "type=container", *words, "--format", "{{json .}}"]
        self.followers = [engine.follow(*events) for engine in engines]
        self.threads = [threading.Thread(target=self._kept, args=(self._balancer, engines), daemon=True)]
        for engine, follower in zip(engines, self.followers):
            self.threads.append(threading.Thread(target=self._kept, args=(self._engine, engine, follower), daemon=True))
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for follower in self.followers:
            follower.terminate()
            follower.wait(10)
        for thread in self.threads:
            thread.join(10)
        if self.trouble:
            raise RuntimeError(f"what went on could not be followed: {self.trouble}")

    def _kept(self, follow, *arguments) -> None:
        try:
            follow(*arguments)
        except Exception as error:  # noqa: BLE001 told by stop(); a thread's own would be lost
            if not self.over.is_set():
                self.trouble = error

    def _balancer(self, engines: list[Engine]) -> None:
        while not self.over.wait(EVERY):
            now, seen = time.time(), standings(self.socket)
            for engine in engines:
                known = self.standings[engine.hostname]
                if not known or known[-1][1] != seen.get(engine.address, "out"):
                    known.append((now, seen.get(engine.address, "out")))

    def _engine(self, engine: Engine, follower) -> None:
        for line in follower.stdout:
            event = json.loads(line)
            self.events[engine.hostname].append((event["timeNano"] / 1e9, event["Action"]))
        if not self.over.is_set():
            raise RuntimeError(f"{engine.hostname}'s events ended")
