"""What EC2 has to say of subnets, security groups and where an instance is, to services that refer to them."""

from . import account
from .ec2 import world


def subnet(region: str, subnet_id: str) -> dict | None:
    """Its VPC and zone, if it exists in the request's account."""
    found = next((s for s in _kept("ec2_subnets", region) if s["SubnetId"] == subnet_id), None)
    return found and {"SubnetId": subnet_id, "VpcId": found["VpcId"], "ZoneName": found["AvailabilityZone"]}


def default_vpc(region: str) -> str:
    return next(vpc["VpcId"] for vpc in _kept("ec2_vpcs", region) if vpc["IsDefault"])


def security_groups(region: str, vpc_id: str) -> dict[str, str]:
    """The names of the VPC's security groups by their ids."""
    groups = _kept("ec2_security_groups", region)
    return {group["GroupId"]: group["GroupName"] for group in groups if group["VpcId"] == vpc_id}


def vpc_of_instance(tables: dict, ec2_id: str) -> str | None:
    """Its VPC, where known: an OpsWorks instance is in its stack's, if the stack names one."""
    own = tables["ec2_instances"].get(ec2_id)
    if own:
        return own.get("VpcId")
    instance = next((i for i in tables["instances"].values() if i.get("Ec2InstanceId") == ec2_id), None)
    stack = tables["stacks"].get(instance["StackId"]) if instance else None
    return stack.get("VpcId") if stack else None


def _kept(table: str, region: str) -> list[dict]:
    """What the request's account has in the region, which includes what every account has from the start."""
    where = world.Where(account.current(), region)
    with world.changing(where) as tables:
        return world.mine(tables, table, where)
