"""The process that runs a unit: starts its commands, restarts them as `Restart=` says, ends them in order."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from commands import become, root_device, run, say, sockets, split, surroundings
from unitfile import LOG, STATE, one, read, seconds, words, write

KNOWN_TYPES = ("simple", "exec", "notify", "notify-reload", "oneshot", "idle")


def supervise(name: str, unit: dict, announce: int) -> None:
    """Never returns. Writes `up`, or why not, to `announce` as soon as it is known."""
    LOG.mkdir(parents=True, exist_ok=True)
    log = os.open(LOG / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir("/")
    os.closerange(3, announce)
    os.closerange(announce + 1, 64)
    write(name, supervisor=os.getpid(), state="activating", order=time.time(), restarts=0)
    (STATE / name / "loaded.json").write_text(json.dumps(unit))
    (STATE / name / "remains").unlink(missing_ok=True)
    unit_process = Timer if name.endswith(".timer") else Service
    try:
        outcome = unit_process(name, unit, announce).live()
    except Exception as error:
        say(name, f"{type(error).__name__}: {error}")
        outcome = "failed"
    if outcome == "remains":
        write(name, state="active", remains="1")
    else:
        (STATE / name / "loaded.json").unlink(missing_ok=True)
        write(name, state=outcome)
    os._exit(0)


class Service:
    def __init__(self, name: str, unit: dict, announce: int):
        self.name, self.unit, self.announce = name, unit, announce
        self.kind = self.get("Type", "simple" if unit.get("Service", {}).get("ExecStart") else "oneshot")
        self.environment = surroundings(unit)
        self.main: int | None = None
        self.stopping = False
        self.sockets = sockets(unit)
        signal.signal(signal.SIGTERM, self.asked_to_stop)

    def get(self, key: str, otherwise: str = "") -> str:
        return one(self.unit, "Service", key, otherwise)

    def commands(self, key: str) -> list[str]:
        return self.unit.get("Service", {}).get(key, [])

    def asked_to_stop(self, *_) -> None:
        self.stopping = True

    def told(self, word: str) -> None:
        if self.announce >= 0:
            os.write(self.announce, word.encode())
            os.close(self.announce)
            self.announce = -1

    def live(self) -> str:
        if self.kind not in KNOWN_TYPES:
            self.told(f"Type={self.kind} is not known on the proving ground")
            return "failed"
        starts: list[float] = []
        burst = int(one(self.unit, "Unit", "StartLimitBurst", "5"))
        interval = seconds(one(self.unit, "Unit", "StartLimitIntervalSec", "10"))
        while True:
            starts = [at for at in starts if at > time.monotonic() - interval] + [time.monotonic()]
            if interval and len(starts) > burst:
                say(self.name, "Start request repeated too quickly.")
                write(self.name, result="start-limit-hit")
                self.told("start of the service was attempted too often")
                return "failed"
            failed = self.once()
            if self.stopping:
                return "inactive"
            if not failed and self.kind == "oneshot" and self.get("RemainAfterExit") in ("yes", "true", "1", "on"):
                return "remains"
            again = self.get("Restart", "no")
            if not (again == "always" or (failed and again in ("on-failure", "on-abnormal", "on-abort"))):
                return "failed" if failed else "inactive"
            if self.kind == "oneshot" and not failed:
                return "inactive"
            write(self.name, state="activating", restarts=int(read(self.name, "restarts", "0")) + 1)
            pause = time.monotonic() + seconds(self.get("RestartSec", "100ms"))
            while time.monotonic() < pause and not self.stopping:
                time.sleep(0.02)
            if self.stopping:
                return "inactive"
            say(self.name, f"Scheduled restart job, restart counter is at {read(self.name, 'restarts')}.")

    def once(self) -> bool:
        """Runs the service's commands until its main process has ended; whether that was a failure."""
        self.make_directories()
        if self.name == "docker.service":
            root_device()
        for command in self.commands("ExecStartPre"):
            if not run(command, self.environment, self.name):
                return self.fail("the control process exited with error code")
        if self.kind == "oneshot":
            for command in self.commands("ExecStart"):
                if not run(command, self.environment, self.name):
                    return self.fail("the control process exited with error code")
            write(self.name, state="active", result="success")
            self.told("up")
            return False
        if not self.commands("ExecStart"):
            return self.fail("it has no ExecStart=")
        notices = self.notices()
        say(self.name, f"Starting {one(self.unit, 'Unit', 'Description', self.name)}...")
        self.main = self.spawn(self.commands("ExecStart")[0])
        write(self.name, main=self.main)
        if notices is not None and not self.ready(notices):
            self.end_main()
            return self.stopping or self.fail("the control process exited with error code or did not get ready in time")
        for command in self.commands("ExecStartPost"):
            run(command, {**self.environment, "MAINPID": str(self.main)}, self.name)
        write(self.name, state="active", result="success")
        say(self.name, f"Started {one(self.unit, 'Unit', 'Description', self.name)}.")
        self.told("up")
        return self.wait()

    def notices(self) -> socket.socket | None:
        """Where the service says READY=1, if it does: sd_notify(3)."""
        if not self.kind.startswith("notify"):
            return None
        path = STATE / self.name / "notify"
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.bind(str(path))
        self.environment["NOTIFY_SOCKET"] = str(path)
        return listening

    def ready(self, notices: socket.socket) -> bool:
        limit = time.monotonic() + seconds(self.get("TimeoutStartSec", "90") if self.get("TimeoutStartSec") != "0" else "infinity")
        while time.monotonic() < limit and not self.stopping:
            if select.select([notices], [], [], 0.05)[0] and b"READY=1" in notices.recv(4096).split(b"\n"):
                return True
            if self.ended():
                return False
        return False

    def wait(self) -> bool:
        while not self.ended():
            if self.stopping:
                write(self.name, state="deactivating")
                for command in self.commands("ExecStop"):
                    run(command, {**self.environment, "MAINPID": str(self.main)}, self.name)
                self.end_main()
                break
            time.sleep(0.05)
        for command in self.commands("ExecStopPost"):
            run(command, self.environment, self.name)
        if self.stopping:
            say(self.name, "Stopped.")
            return False
        clean = self.code == 0 or self.code in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, -signal.SIGPIPE)
        how = f"code=exited, status={self.code}" if self.code >= 0 else f"code=killed, signal={-self.code}"
        say(self.name, f"Main process exited, {how}")
        write(self.name, result="success" if clean else "exit-code" if self.code >= 0 else "signal")
        return not clean

    def ended(self) -> bool:
        if self.main is None:
            return True
        pid, status = os.waitpid(self.main, os.WNOHANG)
        if pid:
            self.code = os.waitstatus_to_exitcode(status)
            self.main = None
        return self.main is None

    def end_main(self) -> None:
        limit = time.monotonic() + seconds(self.get("TimeoutStopSec", "90"))
        number = getattr(signal, self.get("KillSignal", "SIGTERM"))
        whole_group = self.get("KillMode", "control-group") != "process"
        while not self.ended():
            if number is not None:
                (os.killpg if whole_group else os.kill)(self.main, number)
                number = None
            if time.monotonic() > limit:
                number, limit = signal.SIGKILL, float("inf")
            time.sleep(0.02)

    def fail(self, why: str) -> bool:
        write(self.name, result="exit-code")
        if self.get("Restart", "no") in ("no", ""):
            self.told(why)
        elif self.announce >= 0 and self.kind != "oneshot":
            # systemctl start of a service that is about to be restarted reports the first failure.
            self.told(why)
        return True

    def make_directories(self) -> None:
        for key, base in (("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache")):
            for directory in words(self.unit, "Service", key):
                Path(base, directory).mkdir(parents=True, exist_ok=True)

    def spawn(self, command: str) -> int:
        tolerated, line = split(command, self.environment, self.name)
        pid = os.fork()
        if pid:
            return pid
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            environment = dict(self.environment)
            if self.sockets:
                for number, listening in enumerate(self.sockets):
                    os.dup2(listening.fileno(), 3 + number)
                    os.set_inheritable(3 + number, True)
                environment.update(LISTEN_FDS=str(len(self.sockets)), LISTEN_PID=str(os.getpid()))
            if self.get("WorkingDirectory"):
                os.chdir(self.get("WorkingDirectory").lstrip("-").replace("~", "/root"))
            become(self.get("User"))
            os.execvpe(line[0], line, environment)
        except OSError as error:
            say(self.name, f"Failed to execute {line[0]}: {error.strerror}")
        os._exit(203)


class Timer:
    """Starts the service of its name when its time has come: OnActiveSec, OnBootSec, OnUnitActiveSec."""

    def __init__(self, name: str, unit: dict, announce: int):
        self.name, self.unit, self.announce = name, unit, announce
        self.stopping = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))

    def live(self) -> str:
        write(self.name, state="active")
        os.write(self.announce, b"up")
        os.close(self.announce)
        wanted = one(self.unit, "Timer", "Unit", self.name.replace(".timer", ".service"))
        first = one(self.unit, "Timer", "OnActiveSec") or one(self.unit, "Timer", "OnBootSec") or one(self.unit, "Timer", "OnUnitActiveSec")
        every = one(self.unit, "Timer", "OnUnitActiveSec") or one(self.unit, "Timer", "OnUnitInactiveSec")
        if not first:
            say(self.name, "Only OnActiveSec, OnBootSec and OnUnitActiveSec are known on the proving ground")
            return "failed"
        due = time.monotonic() + seconds(first)
        while not self.stopping:
            if time.monotonic() >= due:
                subprocess.run([sys.argv[0], "start", wanted], stdin=subprocess.DEVNULL)
                due = time.monotonic() + (seconds(every) if every else float("inf"))
            time.sleep(0.1)
        return "inactive"
