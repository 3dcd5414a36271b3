"""What EC2 has to say of subnets, security groups and where an instance is, to services that refer to them."""

from . import account


def subnet(region: str, subnet_id: str) -> dict | None:
    """Its VPC and zone, if it exists in the request's account."""
    backend = _backend(region)
    for zone in backend.subnets.values():
        if subnet_id in zone:
            found = zone[subnet_id]
            return {"SubnetId": subnet_id, "VpcId": found.vpc_id, "ZoneName": found.availability_zone}
    return None


def has_security_group(region: str, vpc_id: str, group_id: str) -> bool:
    backend = _backend(region)
    return group_id in backend.groups.get(vpc_id, {})


def default_security_group(region: str, vpc_id: str) -> list[str]:
    backend = _backend(region)
    return [group.id for group in backend.groups.get(vpc_id, {}).values() if group.name == "default"]


def vpc_of_instance(tables: dict, ec2_id: str) -> str | None:
    """Its VPC, where known: an OpsWorks instance is in its stack's, if the stack names one."""
    machine = tables["machines"].get(ec2_id) or {}
    if machine.get("vpc_id"):
        return machine["vpc_id"]
    instance = next((i for i in tables["instances"].values() if i.get("Ec2InstanceId") == ec2_id), None)
    stack = tables["stacks"].get(instance["StackId"]) if instance else None
    return stack.get("VpcId") if stack else None


def _backend(region: str):
    # Imported when it is needed: it takes seconds, and LocalStack too loads EC2 with the first call of it.
    from moto.ec2.models import ec2_backends

    return ec2_backends[account.current()][region]
