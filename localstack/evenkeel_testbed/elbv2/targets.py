"""Targets of a target group: the requests."""

from .. import faults, machines, network
from ..errors import elb_error
from ..testbed import store
from . import config, health, records, registration


def register(region: str, request: dict) -> dict:
    """ "If the target is an EC2 instance, it must be in the running state when you register it." """
    with store.change() as tables:
        group = records.group(tables, region, request["TargetGroupArn"])
        wanted = _wanted(group, request["Targets"])
        _check(tables, region, group, [instance_id for instance_id, _ in wanted])
        registration.register(tables, group, wanted)
    return {}


def deregister(region: str, request: dict) -> dict:
    """ "If you specified a port override when you registered a target, you must specify both the target ID and the
    port when you deregister it." """
    with store.change() as tables:
        group = records.group(tables, region, request["TargetGroupArn"])
        registration.deregister(tables, group, _wanted(group, request["Targets"]))
    return {}


def describe_health(region: str, request: dict) -> dict:
    """Of all targets, or of those that are named, registered or not."""
    lag = faults.lag("elbv2", region)
    with store.read(lag) as tables:
        group = records.group(tables, region, request["TargetGroupArn"])
        said = health.of_group(tables, group, lag)
        named = _wanted(group, request.get("Targets") or [])
        for instance_id, port in named:
            machine = machines.get(instance_id)
            if registration.key(instance_id, port) not in said and (machine is None or machine.region != region):
                raise elb_error("InvalidTarget", f"The instance ID '{instance_id}' is not valid")
    every = [tuple(key.rsplit(":", 1)) for key in said]
    return {
        "TargetHealthDescriptions": [
            {
                "Target": {"Id": instance_id, "Port": int(port)},
                "HealthCheckPort": str(config.check_port(group, int(port))),
                "TargetHealth": said.get(registration.key(instance_id, port)) or health.unregistered(),
            }
            for instance_id, port in (named or every)
        ]
    }


def _wanted(group: dict, targets: list[dict]) -> list[tuple[str, int]]:
    wanted = []
    for target in targets:
        port = target.get("Port") or group["Port"]
        if not 1 <= port <= 65535:
            raise records.invalid(f"Port '{port}' must be between 1 and 65535")
        wanted.append((target["Id"], port))
    return list(dict.fromkeys(wanted))


def _check(tables: dict, region: str, group: dict, ids: list[str]) -> None:
    found = {instance_id: machines.get(instance_id) for instance_id in ids}
    missing = [i for i, machine in found.items() if machine is None or machine.region != region]
    if missing:
        raise elb_error("InvalidTarget", f"The following targets do not exist: {_listed(missing)}")
    idle = [i for i, machine in found.items() if machine.state not in registration.RUNNING]
    if idle:
        raise elb_error(
            "InvalidTarget", f"The following targets are not in a running state and cannot be registered: {_listed(idle)}"
        )
    elsewhere = [i for i in found if network.vpc_of_instance(tables, i) not in (None, group["VpcId"])]
    if elsewhere:
        raise elb_error(
            "InvalidTarget",
            f"The following targets are not in the target group VPC '{group['VpcId']}': {_listed(elsewhere)}",
        )


def _listed(ids: list[str]) -> str:
    return ", ".join(f"'{instance_id}'" for instance_id in ids)


OPERATIONS = {
    "RegisterTargets": register,
    "DeregisterTargets": deregister,
    "DescribeTargetHealth": describe_health,
}
