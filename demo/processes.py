"""Processes that are left running in the background, each with its pid in a file, so that another run finds it."""

import os
import signal
import subprocess
import time
from pathlib import Path


def start(pid_file: Path, command: list, log: Path, **more) -> subprocess.Popen:
    """In a session of its own: Ctrl-C is for the demo, which then ends what it started."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, **more,
        )
    pid_file.write_text(f"{process.pid}\n")
    return process


def stop(pid_file: Path, program: str, by: int = signal.SIGTERM, within: float = 20) -> None:
    """Ends the process of a pid file, of this run or an earlier one, if it is that program still."""
    try:
        pid = int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return
    if _is(pid, program):
        os.kill(pid, by)
        end = time.monotonic() + within
        while _is(pid, program) and time.monotonic() < end:
            time.sleep(0.05)
        if _is(pid, program):
            os.kill(pid, signal.SIGKILL)
    pid_file.unlink(missing_ok=True)


def _is(pid: int, program: str) -> bool:
    try:
        # A child that has ended stays until it is waited for.
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.path.basename(command.split(b"\0")[0].decode(errors="replace")) == program
