"""Whose EC2 a call is about, finding its resources, and what every account has in every region from the start.

Everything belongs to an account (that of the access key) and a region. An account's default VPC with a subnet in each
of three zones, its default security group and the images that AWS, Canonical and Debian publish have ids that follow
from account and region, so that they are the same in every run.
"""

import hashlib
import re
from contextlib import contextmanager
from typing import NamedTuple

from localstack.aws.api import CommonServiceException

from .. import faults, paths, testbed
from ..testbed import store

ZONES = "abc"
# `parameter` is the public SSM parameter that names the image. All boot Debian 12: that of Debian is bare, as Debian's own
# is, and the others have Docker in them, so that most instances are up sooner.
IMAGES = [
    {
        "parameter": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        "Name": "al2023-ami-2023.8.20250721.2-kernel-6.1-x86_64",
        "Description": "Amazon Linux 2023 AMI 2023.8.20250721.2 x86_64 HVM kernel-6.1",
        "OwnerId": "137112412989",
        "ImageOwnerAlias": "amazon",
        "RootDeviceName": "/dev/xvda",
        "ImdsSupport": "v2.0",
    },
    {
        "parameter": "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
        "Name": "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20250712",
        "Description": "Canonical, Ubuntu, 24.04, amd64 noble image",
        "OwnerId": "099720109477",
        "RootDeviceName": "/dev/sda1",
        "ImdsSupport": "v2.0",
    },
    {
        "parameter": "/aws/service/debian/release/12/latest/amd64",
        "Name": "debian-12-amd64-20250721-2181",
        "Description": "Debian 12 (20250721-2181)",
        "OwnerId": "136693071363",
        "RootDeviceName": "/dev/xvda",
        "_bare": True,
    },
]

# What EC2 says of an id that it does not know ("Error codes for the Amazon EC2 API").
UNKNOWN = {
    "ec2_instances": ("InvalidInstanceID.NotFound", "The instance ID '{}' does not exist"),
    "ec2_volumes": ("InvalidVolume.NotFound", "The volume '{}' does not exist."),
    "ec2_images": ("InvalidAMIID.NotFound", "The image id '[{}]' does not exist"),
    "ec2_vpcs": ("InvalidVpcID.NotFound", "The vpc ID '{}' does not exist"),
    "ec2_subnets": ("InvalidSubnetID.NotFound", "The subnet ID '{}' does not exist"),
    "ec2_security_groups": ("InvalidGroup.NotFound", "The security group '{}' does not exist"),
    "ec2_key_pairs": ("InvalidKeyPair.NotFound", "The key pair '{}' does not exist"),
}
MALFORMED = {
    "ec2_instances": ("InvalidInstanceID.Malformed", "i"),
    "ec2_volumes": ("InvalidParameterValue", "vol"),
    "ec2_images": ("InvalidAMIID.Malformed", "ami"),
}


class Where(NamedTuple):
    account: str
    region: str


def of(context) -> Where:
    return Where(context.account_id, context.region)


def error(code: str, message: str, status: int = 400) -> CommonServiceException:
    return CommonServiceException(code, message, status, sender_fault=status < 500)


@contextmanager
def reading(where: Where, service: str = "ec2"):
    """The tables for a Describe call, which lag behind the writes when a test asked for it."""
    with store.read(faults.lag(service, where.region)) as tables:
        seed(tables, where)
        yield tables


@contextmanager
def changing(where: Where):
    with store.change() as tables:
        seed(tables, where)
        yield tables


def record(where: Where, **members) -> dict:
    return {"_account": where.account, "_region": where.region, "Tags": {}, **members}


def mine(tables: dict, table: str, where: Where) -> list[dict]:
    """The account's records of that table in that region."""
    return [r for r in tables[table].values() if (r["_account"], r["_region"]) == where]


def find(tables: dict, where: Where, table: str, resource_id: str) -> dict:
    return find_all(tables, where, table, [resource_id])[0]


def find_all(tables: dict, where: Where, table: str, resource_ids: list[str]) -> list[dict]:
    if table in MALFORMED:
        code, prefix = MALFORMED[table]
        for resource_id in resource_ids:
            if not re.fullmatch(rf"{prefix}-[0-9a-f]{{8,17}}", resource_id):
                raise error(code, f'Invalid id: "{resource_id}" (expecting "{prefix}-...")')
    own = {key: r for key in resource_ids if (r := tables[table].get(_key(table, where, key))) and _owned(r, where)}
    missing = [key for key in resource_ids if key not in own or own[key].get("_hidden")]
    if missing:
        code, message = UNKNOWN[table]
        if len(missing) > 1:
            message = message.replace(" ID '", " IDs '").replace("does not", "do not")
        raise error(code, message.format(", ".join(missing)))
    return [own[key] for key in resource_ids]


def key_pair_key(where: Where, name: str) -> str:
    """A key pair is known by its name, which is unique in an account and region only."""
    return f"{where.account}/{where.region}/{name}"


def _key(table: str, where: Where, resource_id: str) -> str:
    return key_pair_key(where, resource_id) if table == "ec2_key_pairs" else resource_id


def _owned(found: dict, where: Where) -> bool:
    return (found["_account"], found["_region"]) == where


def fixed_id(prefix: str, where: Where, name: str) -> str:
    """An id that follows from account, region and name."""
    return f"{prefix}-{hashlib.sha256(f'{where.account}/{where.region}/{name}'.encode()).hexdigest()[:17]}"


def seed(tables: dict, where: Where) -> None:
    mark = f"{where.account}/{where.region}"
    if mark in tables["ec2_seeds"]:
        return
    tables["ec2_seeds"][mark] = testbed.now()
    vpc_id = fixed_id("vpc", where, "default")
    tables["ec2_vpcs"][vpc_id] = record(where, VpcId=vpc_id, CidrBlock=paths.SUBNET, IsDefault=True, State="available")
    for number, zone in enumerate(ZONES):
        subnet_id = fixed_id("subnet", where, zone)
        tables["ec2_subnets"][subnet_id] = record(
            where,
            SubnetId=subnet_id,
            VpcId=vpc_id,
            CidrBlock=f"{paths.SUBNET.split('.')[0]}.{paths.SUBNET.split('.')[1]}.{192 + 16 * number}.0/20",
            AvailabilityZone=f"{where.region}{zone}",
            DefaultForAz=True,
            MapPublicIpOnLaunch=True,
        )
    tables["ec2_security_groups"].update(default_group(where, vpc_id))
    for image in IMAGES:
        image_id = fixed_id("ami", where, image["parameter"])
        tables["ec2_images"][image_id] = record(where, ImageId=image_id, Public=True, **image)
        tables["ssm_parameters"][f"{mark}{image['parameter']}"] = record(
            where,
            Name=image["parameter"],
            Type="String",
            Value=image_id,
            Version=1,
            DataType="aws:ec2:image",
            LastModifiedDate=testbed.now(),
        )


def default_group(where: Where, vpc_id: str) -> dict:
    """Every VPC has a security group of the name `default`."""
    group_id = fixed_id("sg", where, f"{vpc_id}/default")
    return {
        group_id: record(
            where, GroupId=group_id, GroupName="default", Description="default VPC security group", VpcId=vpc_id
        )
    }
