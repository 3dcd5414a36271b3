"""The engines that both rollouts run on: instances of the proving ground behind one classic load balancer."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import ground
import opsworks

NAME = "bench-swap"
MANIFEST = Path(__file__).resolve().parent / "bench-swap.yaml"
CERTIFICATES = Path(os.environ["EVENKEEL_DOCKER_CERT_PATH"])
PORT = 2376
UP_WITHIN = 180  # seconds


@dataclass(frozen=True)
class Engine:
    """One instance's engine. `log` has a line for every API call that it got."""

    hostname: str
    address: str
    log: Path

    def do(self, *words: str) -> str:
        """One command of Docker's own client; its output."""
        done = subprocess.run(["docker", *words], env=self._env(), text=True, capture_output=True, timeout=120)
        if done.returncode:
            raise RuntimeError(f"{self.hostname}: docker {words[0]} {words[1]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def follow(self, *words: str) -> subprocess.Popen:
        """One command of Docker's own client that goes on until it is ended, or the engine is."""
        nothing = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(["docker", *words], env=self._env(), text=True, stdout=subprocess.PIPE, **nothing)

    def _env(self) -> dict[str, str]:
        return os.environ | {
            "DOCKER_HOST": f"tcp://{self.address}:{PORT}", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(CERTIFICATES)
        }  # fmt: skip

    def empty(self) -> None:
        """Removes every container."""
        if found := self.do("ps", "--all", "--quiet").split():
            self.do("rm", "--force", *found)


def clear() -> bool:
    """Ends the engines and the balancer of any run. Tells whether there were any."""
    return opsworks.clear(NAME)


def make(program: Path, directory: Path) -> list[Engine]:
    """The balancer, and empty engines behind it."""
    opsworks.make_balancer(NAME)
    # AWS checks every five seconds at most; here every second, so that nobody waits for the clock.
    ground.ask("config", {"health_interval_override": 1})
    only = directory / "fleet.yaml"
    only.write_text(MANIFEST.read_text().split("\n---\n")[0])
    command = [program, "apply", only, "--state", directory / "fleet-state"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=UP_WITHIN, env=os.environ | {"NO_COLOR": "1"})
    if done.returncode:
        raise RuntimeError(f"evenkeel apply {only}: {(done.stderr or done.stdout).strip()[-2000:]}")
    found = [Engine(i["hostname"], i["address"], Path(i["engine_log"])) for i in opsworks.instances(NAME)]
    return sorted(found, key=lambda engine: engine.hostname)


def manifest(image: str) -> str:
    return MANIFEST.read_text().replace("IMAGE", image)


def balancer() -> dict:
    return opsworks.balancer(NAME)


def wait_for(what: str, said, within: float) -> None:
    """Until `said` returns True."""
    until = time.monotonic() + within
    while not said():
        if time.monotonic() > until:
            raise RuntimeError(f"{what}: not within {within:.0f} s")
        time.sleep(0.1)
