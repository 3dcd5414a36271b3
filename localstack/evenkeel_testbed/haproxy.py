"""One HAProxy process for each balancer, steered through its runtime socket.

The configuration holds SLOTS empty server slots: registering an instance fills one through the socket, so
traffic never sees a reload. All health comes from the checks of the backend `health`; the backends that carry
traffic track it. Only new listeners, health checks or time-outs need another process, which takes over the
listening sockets of the old one and the state of its servers.
"""

import csv
import hashlib
import io
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import paths

SLOTS = 32
EMPTY = "0.0.0.0"


def render(balancer: dict, interval_override: float | None, addresses: dict[int, str]) -> str:
    """The configuration of a balancer record (elb.py), with the addresses of the slots that are taken: HAProxy's
    state file gives a new process everything of a server but its address."""
    files = Files(balancer)
    idle = balancer["Attributes"]["ConnectionSettings"]["IdleTimeout"]
    check = balancer["HealthCheck"]
    protocol, port, path = parse_target(check["Target"])
    interval = round(1000 * (interval_override or check["Interval"]))
    # The interval may be shortened for tests; what a target is given to answer in is not: a busy machine is no sick one.
    timeout = round(1000 * check["Timeout"])
    lines = [
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
        f"    timeout check {timeout}ms",
        # A classic balancer does not send a request twice.
        "    retries 0",
        "backend health",
    ]
    if protocol in ("HTTP", "HTTPS"):
        lines += ["    mode http", f"    option httpchk GET {path}", "    http-check expect status 200"]
    else:
        lines += ["    mode tcp"]
    secure = " check-ssl verify none" if protocol in ("HTTPS", "SSL") else ""
    for slot in range(1, SLOTS + 1):
        # A server that begins disabled keeps those that track it in maintenance, whatever the state file says.
        disabled = "" if slot in addresses else " disabled"
        lines.append(
            f"    server s{slot} {addresses.get(slot, EMPTY)}:{port} check port {port}{secure} inter {interval}ms "
            f"rise {check['HealthyThreshold']} fall {check['UnhealthyThreshold']}{disabled}"
        )
    for listener in balancer["Listeners"]:
        lines += _listener(balancer, listener, addresses)
    return "\n".join(lines) + "\n"


def _listener(balancer: dict, listener: dict, addresses: dict[int, str]) -> list[str]:
    port = listener["LoadBalancerPort"]
    mode = "http" if listener["Protocol"].upper() in ("HTTP", "HTTPS") else "tcp"
    tls = f" ssl crt {paths.PKI / 'balancer.pem'}" if listener["Protocol"].upper() in ("HTTPS", "SSL") else ""
    to_tls = " ssl verify none" if listener["InstanceProtocol"].upper() in ("HTTPS", "SSL") else ""
    lines = [
        f"frontend f{port}",
        f"    mode {mode}",
        f"    bind {balancer['Address']}:{port}{tls}",
        f"    default_backend b{port}",
        f"backend b{port}",
        f"    mode {mode}",
        "    balance roundrobin",
    ]
    if mode == "http":
        scheme = "https" if tls else "http"
        lines += [
            "    option forwardfor",
            f"    http-request set-header X-Forwarded-Proto {scheme}",
            f"    http-request set-header X-Forwarded-Port {port}",
        ]
    for slot in range(1, SLOTS + 1):
        address = addresses.get(slot, EMPTY)
        lines.append(f"    server s{slot} {address}:{listener['InstancePort']} track health/s{slot}{to_tls}")
    return lines


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


def up_to_date(balancer: dict, interval_override: float | None) -> bool:
    """Whether a process runs with this configuration. Addresses do not count: they change through the socket."""
    try:
        first = Files(balancer).config.open().readline()
    except OSError:
        return False
    return first == _recipe(balancer, interval_override) and pid(balancer) is not None


def _recipe(balancer: dict, interval_override: float | None) -> str:
    return f"# {hashlib.sha256(render(balancer, interval_override, {}).encode()).hexdigest()}\n"


def start(balancer: dict, interval_override: float | None, addresses: dict[int, str]) -> None:
    """Starts the balancer's process, or replaces a running one without closing its listening sockets."""
    files = Files(balancer)
    files.directory.mkdir(parents=True, exist_ok=True)
    files.config.write_text(
        _recipe(balancer, interval_override) + render(balancer, interval_override, addresses)
    )
    command = ["haproxy", "-D", "-f", str(files.config), "-p", str(files.pid)]
    old = pid(balancer)
    if old:
        files.server_state.write_text(ask(balancer, "show servers state"))
        command += ["-x", str(files.socket), "-sf", str(old)]
    else:
        files.server_state.write_text("")
        files.socket.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"haproxy: {done.stderr.strip()}")


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


def fill(balancer: dict, slot: int, address: str) -> None:
    """Puts an instance into a slot. It gets no traffic before its checks have passed: HAProxy takes a server for
    healthy until a check says otherwise, so it enters drained, is declared down, and only then made ready."""
    ports = [
        f"set server b{x['LoadBalancerPort']}/s{slot} addr {address} port {x['InstancePort']}"
        for x in balancer["Listeners"]
    ]
    ask(
        balancer,
        *ports,
        f"set server health/s{slot} addr {address}",
        f"set server health/s{slot} state drain",
        f"set server health/s{slot} health down",
        f"set server health/s{slot} state ready",
    )


def drain(balancer: dict, slot: int) -> None:
    ask(balancer, f"set server health/s{slot} state drain")


def undrain(balancer: dict, slot: int) -> None:
    ask(balancer, f"set server health/s{slot} state ready")


def empty(balancer: dict, slot: int) -> None:
    """Closes what is left of the slot's sessions, and frees it."""
    ask(
        balancer,
        f"set server health/s{slot} state maint",
        *(f"shutdown sessions server b{x['LoadBalancerPort']}/s{slot}" for x in balancer["Listeners"]),
    )


def servers(balancer: dict) -> dict[int, dict]:
    """For each slot: `status` as the checks see it (UP, DOWN 1/2, DRAIN, MAINT), and `sessions` in flight."""
    text = ask(balancer, "show stat -1 4 -1")
    found: dict[int, dict] = {}
    for row in csv.DictReader(io.StringIO(text.lstrip("# "))):
        slot = int(row["svname"][1:])
        entry = found.setdefault(slot, {"status": "MAINT", "sessions": 0, "check": ""})
        if row["pxname"] == "health":
            entry["status"] = row["status"]
            entry["check"] = row["check_status"]
        else:
            entry["sessions"] += int(row["scur"] or 0)
    return found


def wait_ready(balancer: dict, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            ask(balancer, "show info")
            return
        except RuntimeError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
