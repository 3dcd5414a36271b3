"""The commands of a service: their words, their environment, and what they find when they are run."""

import json
import os
import re
import shlex
import socket
import subprocess
import time
from pathlib import Path

from unitfile import LOG, Wrong, fragment, load, one, words

SECCOMP = Path("/run/seccomp.json")


def surroundings(unit: dict) -> dict:
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
    for value in unit.get("Service", {}).get("Environment", []):
        environment.update(word.split("=", 1) for word in shlex.split(value) if "=" in word)
    for value in unit.get("Service", {}).get("EnvironmentFile", []):
        file = Path(value.lstrip("-"))
        if file.exists():
            for line in file.read_text().splitlines():
                if "=" in line and line.strip()[0] not in "#;":
                    key, _, text = line.strip().partition("=")
                    environment[key] = " ".join(shlex.split(text))
        elif not value.startswith("-"):
            raise Wrong(f"Failed to load environment files: {file} does not exist")
    return environment


def split(command: str, environment: dict, name: str) -> tuple[bool, list[str]]:
    """Whether its failure is tolerated, and its words: `$VAR` as several, `${VAR}` as one (systemd.service(5))."""
    prefix = re.match(r"[-@:+!|]*", command)[0]
    line: list[str] = []
    for word in shlex.split(command[len(prefix) :]):
        if re.fullmatch(r"\$\w+", word):
            line += environment.get(word[1:], "").split()
        else:
            line.append(re.sub(r"\$\{(\w+)\}", lambda m: environment.get(m[1], ""), word))
    return "-" in prefix, line + additions(name, line)


def additions(name: str, line: list[str]) -> list[str]:
    """What the proving ground wants of an engine: its log tells every API call; its containers' name look-ups fail at
    once instead of timing out, as nothing answers them here; and no filter of system calls is compiled anew for every
    process in a container, health checks above all, as that costs much and tells nothing about who is tested here."""
    if name != "docker.service" or not line or os.path.basename(line[0]) != "dockerd":
        return []
    try:
        configured = json.loads(Path("/etc/docker/daemon.json").read_text())
    except (OSError, ValueError):
        configured = {}
    SECCOMP.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    flags = {"debug": "--debug", "dns": "--dns=127.0.0.1", "seccomp-profile": f"--seccomp-profile={SECCOMP}"}
    return [flag for key, flag in flags.items() if key not in configured and not any(w.startswith(f"--{key}") for w in line)]


def root_device() -> None:
    """An engine on the root device finds a file system there that overlay2 can use; the container's own is none. Where
    user-data mounted a volume, that is the engine's."""
    directory, part = Path("/var/lib/docker"), Path("/var/lib/testbed/docker")
    directory.mkdir(parents=True, exist_ok=True)
    if part.exists() and directory.stat().st_dev == Path("/").stat().st_dev:
        subprocess.run(["mount", "--bind", part, directory], check=True)


def run(command: str, environment: dict, name: str) -> bool:
    """Whether it succeeded, or its failure is tolerated."""
    tolerated, line = split(command, environment, name)
    try:
        code = subprocess.run(line, env=environment, stdin=subprocess.DEVNULL).returncode
    except OSError as error:
        say(name, f"Failed to execute {line[0]}: {error.strerror}")
        code = 203
    if code and not tolerated:
        say(name, f"Control process exited, {line[0]}, status={code}")
    return code == 0 or tolerated


def sockets(unit: dict) -> list[socket.socket]:
    """What the unit's sockets listen on, handed over to the service: sd_listen_fds(3)."""
    made = []
    for name in words(unit, "Unit", "Requires") + words(unit, "Unit", "Wants") + words(unit, "Service", "Sockets"):
        if not name.endswith(".socket") or fragment(name) is None:
            continue
        wanted = load(name)
        for address in wanted.get("Socket", {}).get("ListenStream", []):
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            Path(address).parent.mkdir(parents=True, exist_ok=True)
            Path(address).unlink(missing_ok=True)
            listening.bind(address)
            os.chmod(address, int(one(wanted, "Socket", "SocketMode", "0666"), 8))
            owner = f"{one(wanted, 'Socket', 'SocketUser', 'root')}:{one(wanted, 'Socket', 'SocketGroup', 'root')}"
            subprocess.run(["chown", owner, address])
            listening.listen(128)
            made.append(listening)
    return made


def become(user: str) -> None:
    if user and user != "root":
        import pwd

        entry = pwd.getpwnam(user)
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


def say(name: str, what: str) -> None:
    line = f"{time.strftime('%b %d %H:%M:%S')} systemd[1]: {name}: {what}\n"
    with open(LOG / name, "a") as log:
        log.write(line)
