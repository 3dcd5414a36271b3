"""Requests without a pause, through the load balancer, by two kinds of clients."""

import json
import shutil
import signal
from pathlib import Path

import processes

HERE = Path(__file__).resolve().parent
LONGEST = 300  # seconds; should nobody end it
# Clients that keep their connection, and clients that open a new one for each request.
KINDS = {"load-kept": (12, 12, []), "load-new": (4, 16, ["-H", "Connection: close"])}
FAILURES = ("status", "connect", "read", "write", "timeout")


class Load:
    def __init__(self, directory: Path, url: str):
        self.directory = directory
        self.processes = {}
        for kind, (connections, pause, more) in KINDS.items():
            log = self._log(kind)
            log.unlink(missing_ok=True)
            command = [shutil.which("wrk") or "wrk", "-t1", f"-c{connections}", f"-d{LONGEST}s", "--timeout", "5s", *more]
            command += ["-s", HERE / "pace.lua", url, "--", pause]
            self.processes[kind] = processes.start(directory / f"{kind}.pid", command, log)

    def _log(self, kind: str) -> Path:
        return self.directory / f"{kind}.log"

    def dead(self) -> str | None:
        """Which of the clients has ended before its time."""
        return next((kind for kind, process in self.processes.items() if process.poll() is not None), None)

    def stop(self) -> dict:
        """What both kinds of clients counted, together; of the latencies the worse."""
        total = {}
        for counted in self.stop_each().values():
            for name, value in counted.items():
                joined = max if name in ("slowest", "p50", "p99") else lambda a, b: a + b
                total[name] = joined(total.get(name, 0), value)
        return total

    def stop_each(self) -> dict[str, dict]:
        """What each kind of clients counted."""
        for process in self.processes.values():
            process.send_signal(signal.SIGINT)  # wrk then prints its result
        return {kind: self._result(kind, process) for kind, process in self.processes.items()}

    def _result(self, kind: str, process) -> dict:
        process.wait(15)
        (self.directory / f"{kind}.pid").unlink(missing_ok=True)
        text = self._log(kind).read_text()
        results = [line for line in text.splitlines() if line.startswith("RESULT ")]
        if not results:
            raise RuntimeError(f"wrk printed no result:\n{text}")
        counted = json.loads(results[-1].removeprefix("RESULT "))
        return counted | {"failed": sum(counted[name] for name in FAILURES)}


def stop_leftovers(directory: Path) -> None:
    for kind in KINDS:
        processes.stop(directory / f"{kind}.pid", "wrk")
