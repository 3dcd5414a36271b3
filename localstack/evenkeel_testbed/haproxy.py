"""One HAProxy process for each balancer, steered through its runtime socket.

A configuration holds SLOTS empty server slots for each pool of targets: registering an instance fills one through
the socket, so traffic never sees a reload. All health comes from the checks of one backend of the pool; the
backends that carry traffic track it. Only new listeners, health checks or time-outs need another process, which
takes over the listening sockets of the old one and the state of its servers. What a configuration says is
classic.py's and elbv2/config.py's.
"""

import csv
import hashlib
import io
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from . import paths

SLOTS = 32
EMPTY = "0.0.0.0"


@dataclass(frozen=True)
class Pool:
    """The slots of targets that are checked alike. `record` is the balancer's, of which the process knows Name and
    Address; `traffic` tells for each backend the port of its servers, or None where every target has its own."""

    record: dict
    checks: str
    traffic: dict[str, int | None]


@dataclass(frozen=True)
class Seat:
    """What a slot holds. The ports are told where the pool leaves them to the target."""

    slot: int
    address: str
    port: int | None = None
    check_port: int | None = None
    draining: bool = False


# The seats of a pool by their slots, by the name of the pool's checks.
Taken = dict[str, dict[int, Seat]]


def head(record: dict, idle: float, check_timeout: float) -> list[str]:
    """The first lines of any balancer's configuration; times in seconds."""
    files = Files(record)
    return [
        "global",
        f"    stats socket {files.socket} mode 600 level admin expose-fd listeners",
        f"    server-state-file {files.server_state}",
        "    maxconn 8192",
        "    nbthread 1",
        # Old processes of a reload end by themselves once their last connection is closed.
        "    hard-stop-after 1h",
        "defaults",
        "    load-server-state-from-file global",
        "    timeout connect 5s",
        f"    timeout client {idle}s",
        f"    timeout server {idle}s",
        f"    timeout check {round(1000 * check_timeout)}ms",
        # No balancer of AWS's sends a request twice.
        "    retries 0",
    ]


def free_address(tables: dict) -> str:
    """An address that no balancer has, classic or of the second version."""
    used = {balancer["Address"] for table in ("balancers", "v2_balancers") for balancer in tables[table].values()}
    return next(address for address in paths.BALANCERS if address not in used)


def parse_target(target: str) -> tuple[str, int, str]:
    """`HTTP:80/path` or `TCP:80` (API reference of HealthCheck.Target). Raises ValueError."""
    protocol, _, rest = target.partition(":")
    port, slash, path = rest.partition("/")
    protocol = protocol.upper()
    if protocol not in ("HTTP", "HTTPS", "TCP", "SSL") or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(target)
    if (protocol in ("HTTP", "HTTPS")) != bool(slash):
        raise ValueError(target)
    return protocol, int(port), slash + path


class Files:
    """The names of a balancer's files; Unix socket paths have to be short, so they go by the address."""

    def __init__(self, balancer: dict):
        base = paths.RUN / "haproxy"
        number = balancer["Address"].rsplit(".", 1)[1]
        self.directory = base
        self.config = base / f"{number}.cfg"
        self.socket = base / f"{number}.sock"
        self.pid = base / f"{number}.pid"
        self.server_state = base / f"{number}.state"


def run(record: dict, render: Callable[[Taken], str], pools: list[tuple[Pool, list[Seat]]]) -> set[str]:
    """Has a process run with the configuration that `render` gives. The slots of pools that a running process has
    already pass to the new one as they are; the others are filled afresh. Gives the names of those pools' checks.
    The caller holds the store's lock, as everybody does who changes a slot: none may change between two processes."""
    # Addresses do not count for whether a configuration is the same: they change through the socket.
    recipe = f"# {hashlib.sha256(render({}).encode()).hexdigest()}\n"
    if _first_line(record) == recipe and pid(record) is not None:
        return set()
    known = _backends(record) if pid(record) is not None else set()
    # HAProxy's state file gives a new process everything of a server but its address.
    carried = {pool.checks: {seat.slot: seat for seat in seats} for pool, seats in pools if pool.checks in known}
    _start(record, recipe + render(carried))
    _wait_ready(record)
    for pool, seats in pools:
        if pool.checks not in known:
            for seat in seats:
                fill(pool, seat)
                if seat.draining:
                    drain(pool, seat.slot)
    return {pool.checks for pool, _ in pools} - known


def _start(record: dict, text: str) -> None:
    files = Files(record)
    files.directory.mkdir(parents=True, exist_ok=True)
    command = ["haproxy", "-D", "-f", str(files.config), "-p", str(files.pid)]
    old = pid(record)
    files.config.write_text(text)
    if old:
        files.server_state.write_text(ask(record, "show servers state"))
        command += ["-x", str(files.socket), "-sf", str(old)]
    else:
        files.server_state.write_text("")
        files.socket.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        # Not this configuration: what runs, if anything does, runs with another.
        files.config.write_text("# refused\n" + text)
        raise RuntimeError(f"haproxy of {record['Name']} ({files.config}): {done.stderr.strip()}")


def _first_line(record: dict) -> str:
    try:
        with Files(record).config.open() as file:
            return file.readline()
    except OSError:
        return ""


def _backends(record: dict) -> set[str]:
    return {line.strip() for line in ask(record, "show backend").splitlines() if line and not line.startswith("#")}


def stop(balancer: dict) -> None:
    files = Files(balancer)
    # A process that a reload left behind with open connections belongs to the balancer as well.
    for process in _processes(files.config):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for file in (files.config, files.socket, files.pid, files.server_state):
        file.unlink(missing_ok=True)


def pid(balancer: dict) -> int | None:
    """The running process, or None. A pid file alone proves nothing: the process must be this balancer's."""
    files = Files(balancer)
    try:
        number = int(files.pid.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return number if _runs(number, files.config) else None


def _runs(number: int, config: Path) -> bool:
    try:
        arguments = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(config).encode() in arguments


def _processes(config: Path) -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _runs(int(p.name), config)]


def ask(balancer: dict, *commands: str) -> str:
    """Sends the commands in one go; raises RuntimeError if HAProxy does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5)
            connection.connect(str(Files(balancer).socket))
            connection.sendall(("; ".join(commands) + "\n").encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer.decode()
    except OSError as error:
        raise RuntimeError(f"haproxy of {balancer['Name']}: {error}") from error


def fill(pool: Pool, seat: Seat) -> None:
    """Puts an instance into a slot. It gets no traffic before its checks have passed: HAProxy takes a server for
    healthy until a check says otherwise, so it enters drained, is declared down, and only then made ready."""
    checked = f"{pool.checks}/s{seat.slot}"
    ports = [
        f"set server {backend}/s{seat.slot} addr {seat.address} port {port or seat.port}"
        for backend, port in pool.traffic.items()
    ]
    own = [f"set server {checked} check-port {seat.check_port}"] if seat.check_port else []
    ask(
        pool.record,
        *ports,
        f"set server {checked} addr {seat.address}",
        *own,
        f"set server {checked} state drain",
        f"set server {checked} health down",
        f"set server {checked} state ready",
    )


def drain(pool: Pool, slot: int) -> None:
    ask(pool.record, f"set server {pool.checks}/s{slot} state drain")


def undrain(pool: Pool, slot: int) -> None:
    ask(pool.record, f"set server {pool.checks}/s{slot} state ready")


def accept(pool: Pool, slot: int) -> None:
    """Takes the slot's instance for healthy, however many checks it has yet to pass."""
    ask(pool.record, f"set server {pool.checks}/s{slot} health up")


def empty(pool: Pool, slot: int, cut: bool = True) -> None:
    """Frees the slot; what is left of its sessions is closed, or with `cut` false left to end by itself."""
    closing = [f"shutdown sessions server {backend}/s{slot}" for backend in pool.traffic] if cut else []
    ask(pool.record, f"set server {pool.checks}/s{slot} state maint", *closing)


def servers(pool: Pool) -> dict[int, dict]:
    """For each slot: `status` as the checks see it (UP, DOWN 1/2, DRAIN, MAINT), `sessions` in flight, how the last
    check ended (`check`, L7STS for instance) and the HTTP status that it saw (`code`, or "")."""
    text = ask(pool.record, "show stat -1 4 -1")
    found: dict[int, dict] = {}
    for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
        if row["pxname"] != pool.checks and row["pxname"] not in pool.traffic:
            continue
        slot = int(row["svname"][1:])
        entry = found.setdefault(slot, {"status": "MAINT", "sessions": 0, "check": "", "code": ""})
        if row["pxname"] == pool.checks:
            entry["status"] = row["status"]
            entry["check"] = row["check_status"].lstrip("* ")
            entry["code"] = row["check_code"]
        else:
            entry["sessions"] += int(row["scur"] or 0)
    return found


def _wait_ready(balancer: dict, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            ask(balancer, "show info")
            return
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
