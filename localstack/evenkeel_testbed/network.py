"""What EC2 has to say of subnets, security groups and where an instance is, to services that refer to them.

EC2 is the proving ground's own where the store has tables of it, and LocalStack's otherwise.
"""

from . import account
from .testbed import store


def subnet(region: str, subnet_id: str) -> dict | None:
    """Its VPC and zone, if it exists in the request's account."""
    kept = _kept("ec2_subnets", region)
    if kept is not None:
        found = kept.get(subnet_id)
        return found and _subnet(subnet_id, found["VpcId"], found["AvailabilityZone"])
    for zone in _backend(region).subnets.values():
        if subnet_id in zone:
            return _subnet(subnet_id, zone[subnet_id].vpc_id, zone[subnet_id].availability_zone)
    return None


def security_groups(region: str, vpc_id: str) -> dict[str, str]:
    """The names of the VPC's security groups by their ids."""
    kept = _kept("ec2_security_groups", region)
    if kept is not None:
        return {group["GroupId"]: group["GroupName"] for group in kept.values() if group["VpcId"] == vpc_id}
    return {group.id: group.name for group in _backend(region).groups.get(vpc_id, {}).values()}


def vpc_of_instance(tables: dict, ec2_id: str) -> str | None:
    """Its VPC, where known: an OpsWorks instance is in its stack's, if the stack names one."""
    own = tables.get("ec2_instances", {}).get(ec2_id)
    if own:
        return own.get("VpcId")
    instance = next((i for i in tables["instances"].values() if i.get("Ec2InstanceId") == ec2_id), None)
    stack = tables["stacks"].get(instance["StackId"]) if instance else None
    return stack.get("VpcId") if stack else None


def _subnet(subnet_id: str, vpc_id: str, zone: str) -> dict:
    return {"SubnetId": subnet_id, "VpcId": vpc_id, "ZoneName": zone}


def _kept(table: str, region: str) -> dict | None:
    """What the store has of the request's account and region; None if it keeps no such table."""
    with store.read() as tables:
        if table not in tables:
            return None
        here = (account.current(), region)
        return {key: r for key, r in tables[table].items() if (r["_account"], r["_region"]) == here}


def _backend(region: str):
    # Imported when it is needed: it takes seconds, and LocalStack too loads EC2 with the first call of it.
    from moto.ec2.models import ec2_backends

    return ec2_backends[account.current()][region]
