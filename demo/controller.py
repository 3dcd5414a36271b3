"""The controller in the background, and the git repository that it follows."""

import json
import os
import re
import subprocess
from pathlib import Path

import processes

RESYNC = 10  # seconds between two whole looks at a fleet that is as declared
PROGRAM = "evenkeel"


class Repository:
    def __init__(self, path: Path, manifest: str):
        self.path = path
        self.file = path / "shop.yaml"
        path.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")
        self.file.write_text(manifest)
        self.commit("The shop")

    @property
    def url(self) -> str:
        return f"git+file://{self.path}"

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        if text.count(old) != 1:
            raise RuntimeError(f"{self.file.name} should name {old} exactly once")
        self.file.write_text(text.replace(old, new))

    def commit(self, message: str) -> str:
        """Returns the revision, as Evenkeel writes it."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", message)
        return self.revision()

    def revision(self) -> str:
        return self._git("rev-parse", "--short=12", "HEAD")

    def _git(self, *words: str) -> str:
        # Whoever runs the demo may have any configuration, or none.
        nobody = {"NAME": "Evenkeel demo", "EMAIL": "demo@example.com"}
        settings = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in nobody.items()}
        env = os.environ | settings | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", "-C", self.path, *words], env=env, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"git {words[0]}: {done.stderr.strip()}")
        return done.stdout.strip()


class Controller:
    def __init__(self, program: Path, directory: Path, source: str, more: dict[str, str]):
        """`more`: variables that it is given besides those of the proving ground."""
        self.program = program
        self.state = directory / "state"
        self.log = directory / "evenkeel.log"
        command = [program, "run", "--source", source, "--git-poll", 1, "--resync", RESYNC, "--state", self.state]
        self.process = processes.start(directory / "controller.pid", command, self.log, env=os.environ | {"NO_COLOR": "1"} | more)

    def status(self, stack: str) -> dict:
        """As `evenkeel status --json` has it; empty before the first look."""
        command = [self.program, "status", "--json", "--state", self.state]
        done = subprocess.run(command, text=True, capture_output=True)
        stacks = json.loads(done.stdout)["stacks"] if done.returncode == 0 else []
        return next((status for status in stacks if status["stack"] == stack), {})

    def peak_memory(self) -> float:
        """In MB of a million bytes each, since it started."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e6

    def stop(self) -> None:
        stop_leftover(self.log.parent)


def stop_leftover(directory: Path) -> None:
    processes.stop(directory / "controller.pid", PROGRAM)
