"""What DescribeInstanceHealth says, in the words of its API reference, from HAProxy's own checks."""

import time

from . import classic, haproxy, machines
from .samples import Samples
from .testbed import setting, store

IN_PROGRESS = "Instance registration is still in progress."
FAILED = "Instance has failed at least the UnhealthyThreshold number of health checks consecutively."
NOT_PASSED = "Instance has not passed the configured HealthyThreshold number of health checks consecutively."
DEREGISTERING = "Instance deregistration currently in progress."
NOT_REGISTERED = "Instance is not currently registered with the LoadBalancer."
STOPPED = "Instance is in stopped state."
TRANSIENT = "A transient error occurred. Please try again later."


def states(balancer: dict, lag: float = 0) -> dict[str, dict]:
    """The state of every instance that is registered or draining, by its EC2 id."""
    if lag > 0:
        past = _samples.before(time.time() - lag)
        if past is not None:
            return past.get(f"{balancer['Region']}/{balancer['Name']}", {})
    try:
        servers = haproxy.servers(classic.pool(balancer))
    except RuntimeError:
        servers = {}
    return {
        instance_id: _state(balancer, instance_id, entry, servers.get(entry["slot"]))
        for instance_id, entry in balancer["_instances"].items()
    }


def unregistered(instance_id: str) -> dict:
    return _said(instance_id, "OutOfService", "Instance", NOT_REGISTERED)


def _state(balancer: dict, instance_id: str, entry: dict, server: dict | None) -> dict:
    if entry["state"] == "draining":
        return _said(instance_id, "InService", "N/A", DEREGISTERING)
    if entry["state"] == "registering":
        return _said(instance_id, "OutOfService", "ELB", IN_PROGRESS)
    if server is None:
        return _said(instance_id, "Unknown", "ELB", TRANSIENT)
    if server["status"].startswith("UP"):
        entry["served"] = True
        return _said(instance_id, "InService", "N/A", "N/A")
    machine = machines.get(instance_id)
    if machine and machine.state == "stopped":
        return _said(instance_id, "OutOfService", "Instance", STOPPED)
    if not entry["served"] and time.time() < entry["since"] + _patience(balancer):
        return _said(instance_id, "OutOfService", "ELB", IN_PROGRESS)
    # HAProxy says "DOWN 1/3" while checks pass, but not yet often enough.
    rising = server["status"].startswith("DOWN ")
    return _said(instance_id, "OutOfService", "Instance", NOT_PASSED if rising else FAILED)


def _patience(balancer: dict) -> float:
    """Until so long after registration, no check can have decided anything."""
    check = balancer["HealthCheck"]
    interval = setting("health_interval_override") or check["Interval"]
    return interval * max(check["UnhealthyThreshold"], check["HealthyThreshold"]) + min(check["Timeout"], interval)


def _said(instance_id: str, state: str, reason: str, description: str) -> dict:
    return {"InstanceId": instance_id, "State": state, "ReasonCode": reason, "Description": description}


def _look() -> dict:
    with store.read() as tables:
        balancers = dict(tables["balancers"])
    return {name: states(balancer) for name, balancer in balancers.items()}


_samples = Samples("elb", _look)
