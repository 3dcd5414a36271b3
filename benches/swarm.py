"""The same rolling update by Docker Swarm, with the settings that lose least."""

import json
import time

import fleet
from fleet import Engine

SERVICE = "web"
UPDATED_WITHIN = 200  # seconds

# The check, the stop and the port are those of bench-swap.yaml.
CONTAINER = [
    "--mode", "global",  # one on each engine, where the balancer looks for it
    "--publish", "mode=host,published=80,target=80",  # no routing mesh: the balancer talks to the instance itself
    "--health-cmd", "wget -q -O /dev/null http://127.0.0.1:80/up",
    "--health-interval", "1s", "--health-timeout", "2s", "--health-retries", "3", "--health-start-period", "30s",
    "--stop-signal", "SIGQUIT", "--stop-grace-period", "30s",
    "--restart-condition", "any", "--restart-delay", "0s",
]  # fmt: skip
# Tried on three engines, failed of about 1,250 requests a second (each swap leaves the balancer sending a third of them
# to an instance whose port is closed, until two of its checks a second apart have failed):
#
#   stop-first, delay 0s, 2s, 3s, 5s, 10s   513, 439, 549, 524, 526 in 14.9, 20.9, 24.2, 30.6, 51.5 s
#   the same at 5s with SIGTERM             474 (nginx then cuts off what is in flight)
#   the same at 5s with monitor 1s          548 in 30.7 s
#   start-first                             never gets anywhere: the new task finds "host-mode port already in use"
#
# So no setting decides how many: nothing tells the balancer before the stop. The delay is what the balancer's checks take
# to have an instance back, so that two of three serve at any time, as with Evenkeel.
UPDATE = [
    "--update-order", "stop-first",
    "--update-parallelism", "1",
    "--update-delay", "2s",
    "--update-monitor", "5s",
    "--update-failure-action", "rollback",
    "--update-max-failure-ratio", "0",
]  # fmt: skip


def begin(engines: list[Engine], image: str) -> None:
    """One swarm of all engines, and the service on each."""
    manager, *workers = engines
    manager.do("swarm", "init", "--advertise-addr", manager.address, "--listen-addr", f"{manager.address}:2377")
    token = manager.do("swarm", "join-token", "--quiet", "worker")
    for worker in workers:
        worker.do("swarm", "join", "--token", token, "--advertise-addr", worker.address, f"{manager.address}:2377")
    manager.do("service", "create", "--detach", "--name", SERVICE, *CONTAINER, *UPDATE, image)


def update(engines: list[Engine], image: str, look) -> float:
    """The seconds that it took by Swarm's own word. `look` is called with what it says meanwhile."""
    manager = engines[0]
    began = time.monotonic()
    manager.do("service", "update", "--detach", "--image", image, SERVICE)
    while True:
        status = json.loads(manager.do("service", "inspect", "--format", "{{json .UpdateStatus}}", SERVICE)) or {}
        took = time.monotonic() - began
        if status.get("State") == "completed":
            return took
        if status.get("State") not in ("updating", None):
            raise RuntimeError(f"Swarm's update is {status['State']}: {status.get('Message')}")
        if took > UPDATED_WITHIN:
            raise RuntimeError(f"Swarm's update was not over within {UPDATED_WITHIN} s: {status}")
        look(tasks(manager))
        time.sleep(0.2)


def tasks(manager: Engine) -> dict[str, str]:
    """What Swarm says of each engine's present task."""
    form = "{{.Node}}\t{{.Image}} {{.CurrentState}}"
    lines = manager.do("service", "ps", SERVICE, "--filter", "desired-state=running", "--format", form).splitlines()
    found = (line.split("\t") for line in lines)
    return {node: " ".join(state.split()[:2]).lower() for node, state in found}


def end(engines: list[Engine]) -> None:
    """No engine is in a swarm any more; what is left of one (bridge, ingress) goes with the engine itself."""
    for engine in reversed(engines):
        engine.do("swarm", "leave", "--force")
