"""A rollout while it goes on: what Evenkeel does, from its log, and what becomes of the instances, from its status."""

import re
import time
from pathlib import Path

import screen

LINE = re.compile(r"^\S+\s+(INFO|WARN|ERROR)\s+(.*?)(?: stack=\"[^\"]*\")?$")
DONE = re.compile(r"^(?P<what>.*): done in (?P<seconds>[\d.]+)s$")


def outlook(status: dict) -> str:
    """What is being done and what is waited for, in one line."""
    holds = [f"{hold['subject']} waits for {hold['on']}" for hold in status.get("holds", [])]
    troubles = [f"{trouble['subject']}: {trouble['message']}" for trouble in status.get("conditions", [])]
    return "; ".join(troubles + status.get("doing", []) + holds) or "looking"


class Follower:
    """Prints what is new, each line with the seconds since `began`."""

    def __init__(self, log: Path, began: float, quiet: tuple[str, ...] = ()):
        self.file = log.open(errors="replace")
        self.file.seek(0, 2)
        self.began = began
        self.quiet = quiet
        self.instances: dict[str, dict] = {}
        self.rest = ""

    def look(self, status: dict) -> None:
        # The status was asked for first: what it says came before what the log says.
        for instance in status.get("instances", []):
            self._instance(instance, status["doing"])
        self._log()

    def _log(self) -> None:
        *lines, self.rest = (self.rest + self.file.read()).split("\n")
        for text in lines:
            found = LINE.match(text)
            if not found:
                continue
            level, message = found.groups()
            done = DONE.match(message)
            if level != "INFO":
                self._say(message, "yellow")
            elif done:
                what, seconds = done["what"], float(done["seconds"])
                if not any(word in what for word in self.quiet):
                    self._say(what + (f"  ({seconds:.1f} s)" if seconds >= 0.5 else ""))
            elif message.startswith("revision "):
                self._say(message, "bold")

    def _instance(self, instance: dict, doing: list[str]) -> None:
        name = instance["hostname"]
        before = self.instances.get(name)
        self.instances[name] = instance
        if before is None:
            return
        if instance["state"] != before["state"]:
            self._say(f"{name}: {instance['state']}", "blue")
        for container, now in instance["containers"].items():
            state = now["state"]
            stopping = any(what.startswith(f"{name}: stop {container} ") for what in doing)
            if state != before["containers"].get(container, {}).get("state") and state in ("healthy", "unhealthy") and not stopping:
                self._say(f"{name}: {container} is {state}", "green" if state == "healthy" else "red")
        for balancer, standing in instance["balancers"].items():
            if standing.split(":")[0] != before["balancers"].get(balancer, "").split(":")[0]:
                good = standing == "in service"
                self._say(f"{name}: load balancer {balancer} says: {standing}", "green" if good else "blue")

    def _say(self, text: str, style: str | None = None) -> None:
        seconds = time.monotonic() - self.began
        screen.line(f"  {seconds:6.1f} s  {text}", style)
