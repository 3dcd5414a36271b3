"""What DescribeTargetHealth says, in the words of "Target health status" and "Health check reason codes" of the user
guides, from HAProxy's own checks."""

import time

from .. import machines
from ..samples import Samples
from ..testbed import setting, store
from . import records, registration
from .records import GROUPS

DESCRIPTIONS = {
    "Elb.RegistrationInProgress": "Target registration is in progress",
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Elb.InternalError": "Health checks failed due to an internal error",
    "Target.DeregistrationInProgress": "Target deregistration is in progress",
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.NotInUse": "Target group is not configured to receive traffic from the load balancer",
    "Target.NotRegistered": "Target is not registered to the target group",
    "Target.Timeout": "Request timed out",
}


def of_group(tables: dict, group: dict, lag: float = 0) -> dict[str, dict]:
    """The health of every target that is registered or draining, by registration.key."""
    if lag > 0:
        past = _samples.before(time.time() - lag)
        if past is not None:
            return past.get(group["Arn"], {})
    pool = registration.pool_of(tables, group)
    servers = registration.seen(pool)
    return {
        key: _health(group, target, servers.get(target["slot"]), pool is not None)
        for key, target in group["_targets"].items()
    }


def unregistered() -> dict:
    return said("unused", "Target.NotRegistered")


def said(state: str, reason: str, description: str | None = None) -> dict:
    return {"State": state, "Reason": reason, "Description": description or DESCRIPTIONS[reason]}


def _health(group: dict, target: dict, server: dict | None, used: bool) -> dict:
    if target["state"] == "draining":
        failing = server is not None and server["status"].startswith("DOWN")
        state = "unhealthy.draining" if failing and setting("unhealthy_draining") else "draining"
        return said(state, "Target.DeregistrationInProgress")
    machine = machines.get(target["Id"])
    if machine is None or machine.state in ("stopped", "terminated"):
        return _invalid_state(machine.state if machine else "terminated")
    if not used:
        return said("unused", "Target.NotInUse")
    if target["state"] == "registering":
        return said("initial", "Elb.RegistrationInProgress")
    if server is None:
        if records.kind_of_group(group) == "application":
            return said("unhealthy", "Elb.InternalError")
        return said("unavailable", "Elb.InternalError", "Target health is unavailable due to an internal error")
    if server["status"].startswith("UP"):
        return {"State": "healthy"}
    if not target["served"] and time.time() < target["since"] + _patience(group):
        return said("initial", "Elb.InitialHealthChecking")
    return _unhealthy(group, server)


def _unhealthy(group: dict, server: dict) -> dict:
    """For network load balancers the API reference has one reason alone. While checks pass again, but not yet often
    enough, there is no code that would be wrong."""
    check = server["check"]
    if records.kind_of_group(group) == "application":
        if check == "L7STS":
            described = f"Health checks failed with these codes: [{server['code']}]"
            return said("unhealthy", "Target.ResponseCodeMismatch", described)
        if check.endswith("TOUT"):
            return said("unhealthy", "Target.Timeout")
    return said("unhealthy", "Target.FailedHealthChecks")


def _invalid_state(state: str) -> dict:
    return said("unused", "Target.InvalidState", f"Target is in the {state} state")


def _patience(group: dict) -> float:
    """Until so long after registration, no check can have decided anything."""
    interval = setting("health_interval_override") or group["HealthCheckIntervalSeconds"]
    return interval * group["UnhealthyThresholdCount"] + min(group["HealthCheckTimeoutSeconds"], interval)


def _look() -> dict:
    with store.read() as tables:
        return {arn: of_group(tables, group) for arn, group in tables[GROUPS].items()}


_samples = Samples("elbv2", _look)
