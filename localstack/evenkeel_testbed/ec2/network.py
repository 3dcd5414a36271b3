"""VPCs, subnets and security groups. They place an instance and give it an address; no packet is filtered."""

import ipaddress

from .. import paths, testbed
from . import world
from .pages import filtered, page, tag_list
from .world import Where, changing, error, find, find_all, mine, reading
from ..machines import allocate_address

LIVE = ("pending", "running", "stopping", "stopped", "shutting-down")


def create_vpc(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        vpc_id = testbed.ec2_id("vpc")
        vpc = world.record(
            where,
            VpcId=vpc_id,
            CidrBlock=str(_network(request.get("CidrBlock"), "InvalidVpc.Range")),
            IsDefault=False,
            State="available",
            Tags=given_tags(request, "vpc"),
        )
        tables["ec2_vpcs"][vpc_id] = vpc
        tables["ec2_security_groups"].update(world.default_group(where, vpc_id))
    return {"Vpc": _vpc(vpc)}


def describe_vpcs(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        found = _chosen(tables, where, "ec2_vpcs", request.get("VpcIds"))
        getters = {
            "vpc-id": lambda v: v["VpcId"],
            "is-default": lambda v: v["IsDefault"],
            "isDefault": lambda v: v["IsDefault"],
            "cidr": lambda v: v["CidrBlock"],
            "state": lambda v: v["State"],
        }
        found, more = page(where, filtered(found, request, getters), request, "VpcId", "VpcIds")
        return {"Vpcs": [_vpc(v) for v in found], **more}


def delete_vpc(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        vpc_id = find(tables, where, "ec2_vpcs", request["VpcId"])["VpcId"]
        if any(s["VpcId"] == vpc_id for s in tables["ec2_subnets"].values()):
            raise error("DependencyViolation", f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        del tables["ec2_vpcs"][vpc_id]
        for group_id in [k for k, g in tables["ec2_security_groups"].items() if g["VpcId"] == vpc_id]:
            del tables["ec2_security_groups"][group_id]
    return {}


def create_subnet(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        vpc = find(tables, where, "ec2_vpcs", request["VpcId"])
        network = _network(request.get("CidrBlock"), "InvalidSubnet.Range")
        if not network.subnet_of(ipaddress.ip_network(vpc["CidrBlock"])):
            raise error("InvalidSubnet.Range", f"The CIDR '{network}' is invalid.")
        for other in mine(tables, "ec2_subnets", where):
            if other["VpcId"] == vpc["VpcId"] and network.overlaps(ipaddress.ip_network(other["CidrBlock"])):
                raise error("InvalidSubnet.Conflict", f"The CIDR '{network}' conflicts with another subnet")
        zone = request.get("AvailabilityZone") or f"{where.region}{world.ZONES[0]}"
        if zone not in zones(where):
            known = ", ".join(zones(where))
            raise error(
                "InvalidParameterValue",
                f"Value ({zone}) for parameter availabilityZone is invalid. Subnets can currently only be created in "
                f"the following availability zones: {known}.",
            )
        subnet_id = testbed.ec2_id("subnet")
        subnet = world.record(
            where,
            SubnetId=subnet_id,
            VpcId=vpc["VpcId"],
            CidrBlock=str(network),
            AvailabilityZone=zone,
            DefaultForAz=False,
            MapPublicIpOnLaunch=False,
            Tags=given_tags(request, "subnet"),
        )
        tables["ec2_subnets"][subnet_id] = subnet
        return {"Subnet": _subnet(tables, subnet)}


def describe_subnets(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        found = _chosen(tables, where, "ec2_subnets", request.get("SubnetIds"))
        getters = {
            "subnet-id": lambda s: s["SubnetId"],
            "vpc-id": lambda s: s["VpcId"],
            "availability-zone": lambda s: s["AvailabilityZone"],
            "availabilityZone": lambda s: s["AvailabilityZone"],
            "cidr-block": lambda s: s["CidrBlock"],
            "default-for-az": lambda s: s["DefaultForAz"],
            "defaultForAz": lambda s: s["DefaultForAz"],
            "state": lambda s: "available",
        }
        found, more = page(where, filtered(found, request, getters), request, "SubnetId", "SubnetIds")
        return {"Subnets": [_subnet(tables, s) for s in found], **more}


def delete_subnet(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        subnet = find(tables, where, "ec2_subnets", request["SubnetId"])
        if _inside(tables, subnet):
            raise error(
                "DependencyViolation", f"The subnet '{subnet['SubnetId']}' has dependencies and cannot be deleted."
            )
        del tables["ec2_subnets"][subnet["SubnetId"]]
    return {}


def create_security_group(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        vpc_id = request.get("VpcId") or default_vpc(tables, where)["VpcId"]
        find(tables, where, "ec2_vpcs", vpc_id)
        name = request["GroupName"]
        if any(g["GroupName"] == name and g["VpcId"] == vpc_id for g in mine(tables, "ec2_security_groups", where)):
            raise error("InvalidGroup.Duplicate", f"The security group '{name}' already exists for VPC '{vpc_id}'")
        group_id = testbed.ec2_id("sg")
        tags = given_tags(request, "security-group")
        tables["ec2_security_groups"][group_id] = world.record(
            where, GroupId=group_id, GroupName=name, Description=request["Description"], VpcId=vpc_id, Tags=tags
        )
    return {"GroupId": group_id, "Tags": tag_list(tags)}


def describe_security_groups(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        found = _chosen(tables, where, "ec2_security_groups", request.get("GroupIds"))
        names = request.get("GroupNames") or []
        for name in names:
            if not any(g["GroupName"] == name for g in found):
                raise error("InvalidGroup.NotFound", f"The security group '{name}' does not exist")
        found = [g for g in found if not names or g["GroupName"] in names]
        getters = {
            "group-id": lambda g: g["GroupId"],
            "group-name": lambda g: g["GroupName"],
            "vpc-id": lambda g: g["VpcId"],
            "description": lambda g: g["Description"],
            "owner-id": lambda g: g["_account"],
        }
        found, more = page(where, filtered(found, request, getters), request, "GroupId", "GroupIds")
        return {"SecurityGroups": [_group(g) for g in found], **more}


def delete_security_group(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        group = find(tables, where, "ec2_security_groups", request.get("GroupId") or "")
        if group["GroupName"] == "default":
            raise error(
                "CannotDelete", f'the specified group: "{group["GroupId"]}" name: "default" cannot be deleted by a user'
            )
        for instance in mine(tables, "ec2_instances", where):
            if instance["State"] in LIVE and group["GroupId"] in instance["_groups"]:
                raise error("DependencyViolation", f"resource {group['GroupId']} has a dependent object")
        del tables["ec2_security_groups"][group["GroupId"]]
    return {}


def zones(where: Where) -> list[str]:
    return [f"{where.region}{zone}" for zone in world.ZONES]


def default_vpc(tables: dict, where: Where) -> dict:
    found = [v for v in mine(tables, "ec2_vpcs", where) if v["IsDefault"]]
    if not found:
        raise error("VPCIdNotSpecified", "No default VPC for this user")
    return found[0]


def free_addresses(tables: dict, subnet: dict) -> int:
    """AWS keeps five addresses of every subnet. A test may have set how many are left (`POST ec2/subnets/<id>`)."""
    used = len(_inside(tables, subnet))
    total = ipaddress.ip_network(subnet["CidrBlock"]).num_addresses - 5
    return max(0, min(total, subnet.get("_capacity", total)) - used)


def set_free_addresses(tables: dict, subnet: dict, free: int | None) -> None:
    subnet.pop("_capacity", None)
    if free is not None:
        subnet["_capacity"] = len(_inside(tables, subnet)) + free


def take_address(tables: dict, subnet: dict) -> str:
    """An address of the subnet, where the subnet lies in the instances' real network, and else of that network."""
    if free_addresses(tables, subnet) < 1:
        raise error(
            "InsufficientFreeAddressesInSubnet",
            "The specified subnet does not have enough free addresses to satisfy the request.",
        )
    network = ipaddress.ip_network(subnet["CidrBlock"])
    return allocate_address(network if network.subnet_of(ipaddress.ip_network(paths.SUBNET)) else None)


def given_tags(request: dict, kind: str) -> dict:
    """The tags of a create call for what it makes of that kind."""
    tags: dict = {}
    for specification in request.get("TagSpecifications") or []:
        if specification.get("ResourceType") == kind:
            tags.update({tag["Key"]: tag.get("Value") or "" for tag in specification.get("Tags") or []})
    for key in tags:
        if key.lower().startswith("aws:"):
            raise error("InvalidParameterValue", f"Tag keys starting with 'aws:' are reserved for internal use: {key}")
    return tags


def _inside(tables: dict, subnet: dict) -> list[dict]:
    return [
        i for i in tables["ec2_instances"].values() if i["SubnetId"] == subnet["SubnetId"] and i["State"] in LIVE
    ]


def _chosen(tables: dict, where: Where, table: str, ids: list | None) -> list[dict]:
    return find_all(tables, where, table, ids) if ids else mine(tables, table, where)


def _network(cidr: str | None, code: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(cidr or "")
    except ValueError:
        raise error("InvalidParameterValue", f"Value ({cidr}) for parameter cidrBlock is invalid.") from None
    if not 16 <= network.prefixlen <= 28:
        raise error(code, f"The CIDR '{cidr}' is invalid.")
    return network


def _vpc(vpc: dict) -> dict:
    return {**vpc, "OwnerId": vpc["_account"], "InstanceTenancy": "default", "Tags": tag_list(vpc["Tags"])}


def _subnet(tables: dict, subnet: dict) -> dict:
    return {
        **subnet,
        "OwnerId": subnet["_account"],
        "State": "available",
        "AvailableIpAddressCount": free_addresses(tables, subnet),
        "SubnetArn": f"arn:aws:ec2:{subnet['_region']}:{subnet['_account']}:subnet/{subnet['SubnetId']}",
        "Tags": tag_list(subnet["Tags"]),
    }


def _group(group: dict) -> dict:
    everything = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    return {
        **group,
        "OwnerId": group["_account"],
        "IpPermissions": [],
        "IpPermissionsEgress": [everything],
        "Tags": tag_list(group["Tags"]),
    }


OPERATIONS = {
    "CreateVpc": create_vpc,
    "DescribeVpcs": describe_vpcs,
    "DeleteVpc": delete_vpc,
    "CreateSubnet": create_subnet,
    "DescribeSubnets": describe_subnets,
    "DeleteSubnet": delete_subnet,
    "CreateSecurityGroup": create_security_group,
    "DescribeSecurityGroups": describe_security_groups,
    "DeleteSecurityGroup": delete_security_group,
}
