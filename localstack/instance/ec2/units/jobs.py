"""Starting, stopping, restarting and reloading units, with what they need."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from commands import run, surroundings
from service import supervise
from unitfile import STATE, UNITS, Wrong, fragment, load, read, state, supervisor, words, write


def start(name: str) -> None:
    if name.endswith(".target"):
        for directory in UNITS:
            for link in sorted((directory / f"{name}.wants").glob("*")):
                quietly(start, link.name)
        return
    if state(name) in ("active", "activating"):
        return
    unit = load(name)
    for other in words(unit, "Unit", "Requires") + words(unit, "Unit", "BindsTo"):
        if not other.endswith((".target", ".slice", ".mount")):
            start(other)
    for other in words(unit, "Unit", "Wants"):
        if not other.endswith((".target", ".slice", ".mount")):
            quietly(start, other)
    if not conditions(unit):
        return
    for value in unit.get("Unit", {}).get("RequiresMountsFor", []):
        for path in shlex.split(value):
            mount_for(path, name)
    if name.endswith(".socket"):
        write(name, state="active", remains="1", order=time.time())
        return
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.close(reading)
            supervise(name, unit, writing)
        os._exit(0)
    os.close(writing)
    os.wait()
    word = b""
    while piece := os.read(reading, 100):
        word += piece
    if word != b"up":
        raise Wrong(
            f"Job for {name} failed because {word.decode() or 'its process ended'}.\n"
            f'See "systemctl status {name}" and "journalctl -xeu {name}" for details.'
        )


def stop(name: str) -> None:
    if name.endswith(".target"):
        return
    pid = supervisor(name)
    if pid is None:
        if fragment(name) is None:
            raise Wrong(f"Unit {name} not loaded.", 5)
        for what in ("remains", "loaded.json"):
            (STATE / name / what).unlink(missing_ok=True)
        if state(name) != "failed":
            write(name, state="inactive")
        return
    os.kill(pid, signal.SIGTERM)
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in status_file(pid):
        time.sleep(0.02)


def restart(name: str) -> None:
    load(name)
    kept = STATE / name / "loaded.json"
    unit = kept.read_text() if kept.exists() else None
    stop(name)
    write(name, state="inactive")
    if unit:
        kept.write_text(unit)
    start(name)


def reload(name: str) -> None:
    unit = load(name)
    if state(name) != "active":
        raise Wrong(f"{name} is not active, cannot reload.")
    commands = unit.get("Service", {}).get("ExecReload")
    if not commands:
        raise Wrong(f"Failed to reload {name}: Job type reload is not applicable for unit {name}.")
    environment = {**surroundings(unit), "MAINPID": read(name, "main")}
    for command in commands:
        run(command, environment, name)


def stop_all() -> None:
    """Last started, first stopped."""
    names = [d.name for d in STATE.glob("*") if supervisor(d.name)] if STATE.exists() else []
    for name in sorted(names, key=lambda n: float(read(n, "order", "0")), reverse=True):
        stop(name)


def quietly(what, name: str) -> None:
    try:
        what(name)
    except Wrong as wrong:
        print(wrong, file=sys.stderr)


def mount_for(path: str, name: str) -> None:
    """What /etc/fstab has for the path or above it is mounted first, or the unit does not start."""
    for line in Path("/etc/fstab").read_text().splitlines() if Path("/etc/fstab").exists() else []:
        fields = line.split()
        if len(fields) < 2 or line.lstrip().startswith("#") or not fields[1].startswith("/"):
            continue
        point = re.sub(r"\\(\d{3})", lambda m: chr(int(m[1], 8)), fields[1])
        if f"{path.rstrip('/')}/".startswith(f"{point.rstrip('/')}/") and not os.path.ismount(point):
            if subprocess.run(["mount", point]).returncode != 0:
                raise Wrong(f"A dependency job for {name} failed: {point} cannot be mounted. See 'journalctl -xe' for details.")


def conditions(unit: dict) -> bool:
    for value in unit.get("Unit", {}).get("ConditionPathExists", []):
        if Path(value.lstrip("!")).exists() == value.startswith("!"):
            return False
    return True


def status_file(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return "\nState:\tZ"
