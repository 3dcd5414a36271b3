"""RunInstances: what a launch is checked for, and what it makes."""

import base64
import binascii
import json
import re

from localstack.aws.spec import load_service

from .. import machines, testbed
from . import ebs, life, ssm, world
from .images import ROOT_GIB
from .network import default_vpc, free_addresses, given_tags, take_address
from .shown import reservation
from .world import Where, changing, error, find, find_all, mine

USER_DATA_LIMIT = 16 * 1024


def run_instances(where: Where, request: dict) -> dict:
    """ "If you retry a request with the same client token and the same parameters after it has completed successfully,
    the result of the original request is returned" ("Ensuring idempotency in Amazon EC2 API requests")."""
    token = request.get("ClientToken")
    if token and len(token) > 64:
        raise error("InvalidParameterValue", "Client token must be at most 64 ASCII characters")
    asked = json.dumps({k: v for k, v in request.items() if k not in ("ClientToken", "DryRun")}, sort_keys=True, default=str)
    with changing(where) as tables:
        known = token and tables["ec2_tokens"].get(f"{where.account}/{where.region}/{token}")
        if known and known["asked"] != asked:
            raise error(
                "IdempotentParameterMismatch",
                "The request uses the same client token as a previous, but non-identical request. Do not reuse a client "
                "token with different requests, unless the requests are identical",
            )
        if known:
            return reservation(tables, [tables["ec2_instances"][i] for i in known["instances"]])
        made = _launch(tables, where, request)
        if token:
            tables["ec2_tokens"][f"{where.account}/{where.region}/{token}"] = {
                "asked": asked,
                "instances": [instance["InstanceId"] for instance in made],
            }
        answer = reservation(tables, made)
    for instance in made:
        life.go(instance["InstanceId"])
    return answer


def _launch(tables: dict, where: Where, request: dict) -> list[dict]:
    least, most = request["MinCount"], request["MaxCount"]
    if not 1 <= least <= most:
        raise error("InvalidParameterValue", f"Invalid value for instance count: min {least}, max {most}")
    image = _image(tables, where, request.get("ImageId"))
    kind = request.get("InstanceType") or "m1.small"
    if kind not in load_service("ec2").shape_for("InstanceType").enum:
        raise error("InvalidParameterValue", f"Invalid value '{kind}' for InstanceType.")
    key = find(tables, where, "ec2_key_pairs", request["KeyName"]) if request.get("KeyName") else None
    user_data = _user_data(request.get("UserData"))
    interface = (request.get("NetworkInterfaces") or [{}])[0]
    subnet = _subnet(tables, where, request, interface)
    groups = _groups(tables, where, request, interface, subnet)
    free = free_addresses(tables, subnet)
    if free < least:
        raise error(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in subnet '{subnet['SubnetId']}' to satisfy the requested number of "
            "instances.",
        )
    mappings = ebs.launch_mappings(request.get("BlockDeviceMappings") or [], image["RootDeviceName"], ROOT_GIB)
    made = []
    for index in range(min(most, free)):
        address = take_address(tables, subnet)
        dashed = address.replace(".", "-")
        instance_id = testbed.ec2_id("i")
        public = interface.get("AssociatePublicIpAddress", subnet["MapPublicIpOnLaunch"])
        domain = "ec2.internal" if where.region == "us-east-1" else f"{where.region}.compute.internal"
        instance = world.record(
            where,
            InstanceId=instance_id,
            ImageId=image["ImageId"],
            State="pending",
            PrivateDnsName=f"ip-{dashed}.{domain}",
            PublicDnsName="",
            StateTransitionReason="",
            KeyName=key and key["KeyName"],
            AmiLaunchIndex=index,
            InstanceType=kind,
            LaunchTime=testbed.now(),
            Placement={
                "AvailabilityZone": subnet["AvailabilityZone"],
                "GroupName": "",
                "Tenancy": (request.get("Placement") or {}).get("Tenancy") or "default",
            },
            Monitoring={"State": "enabled" if (request.get("Monitoring") or {}).get("Enabled") else "disabled"},
            SubnetId=subnet["SubnetId"],
            VpcId=subnet["VpcId"],
            PrivateIpAddress=address,
            ClientToken=request.get("ClientToken") or "",
            EbsOptimized=bool(request.get("EbsOptimized")),
            IamInstanceProfile=_profile(where, request.get("IamInstanceProfile")),
            RootDeviceName=image["RootDeviceName"],
            MetadataOptions=_metadata_options(image, request.get("MetadataOptions") or {}),
            Tags=given_tags(request, "instance"),
            _groups=[group["GroupId"] for group in groups],
            _group_names=[group["GroupName"] for group in groups],
            _user_data=user_data,
            _public_key=key and key["PublicKey"].strip(),
            _public=bool(public),
            _protected=bool(request.get("DisableApiTermination")),
            _shutdown_behavior=request.get("InstanceInitiatedShutdownBehavior") or "stop",
            _reservation=testbed.ec2_id("r"),
            _interface=testbed.ec2_id("eni"),
            _mac="06:" + ":".join(re.findall("..", instance_id[-10:])),
            _generation=0,
        )
        if made:
            instance["_reservation"] = made[0]["_reservation"]
        tables["ec2_instances"][instance_id] = instance
        ebs.make_for_launch(tables, where, instance, mappings, given_tags(request, "volume"))
        machines.save(
            machines.Machine(
                ec2_id=instance_id,
                container=f"evenkeel-{instance_id}",
                hostname=f"ip-{dashed}",
                region=where.region,
                address=address,
                state="pending",
                bare=image.get("_bare", False),
                volumes=ebs.of_machine(tables, instance_id),
            )
        )
        made.append(instance)
    return made


def _image(tables: dict, where: Where, image_id: str | None) -> dict:
    """An image by its id, or by the name of an SSM parameter: `resolve:ssm:NAME`."""
    if not image_id:
        raise error("MissingParameter", "The request must contain the parameter ImageId")
    if image_id.startswith("resolve:ssm:"):
        parameter = ssm.value_of(tables, where, image_id.removeprefix("resolve:ssm:"))
        if parameter is None:
            raise error("InvalidParameterValue", f"Could not resolve the SSM parameter of {image_id}")
        image_id = parameter
    return find(tables, where, "ec2_images", image_id)


def _user_data(encoded: str | None) -> str:
    try:
        data = base64.b64decode("".join((encoded or "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise error("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(data) > USER_DATA_LIMIT:
        raise error("InvalidParameterValue", "User data is limited to 16384 bytes")
    # Bytes as text of the same length: user data may be compressed, and the store holds text.
    return data.decode("latin-1")


def _subnet(tables: dict, where: Where, request: dict, interface: dict) -> dict:
    subnet_id = request.get("SubnetId") or interface.get("SubnetId")
    zone = (request.get("Placement") or {}).get("AvailabilityZone")
    if subnet_id:
        subnet = find(tables, where, "ec2_subnets", subnet_id)
        if zone and zone != subnet["AvailabilityZone"]:
            raise error(
                "InvalidParameterValue",
                f"Value ({zone}) for parameter availabilityZone is invalid. The subnet {subnet_id} is in "
                f"{subnet['AvailabilityZone']}.",
            )
        return subnet
    vpc_id = default_vpc(tables, where)["VpcId"]
    for subnet in sorted(mine(tables, "ec2_subnets", where), key=lambda s: s["AvailabilityZone"]):
        if subnet["VpcId"] == vpc_id and subnet["DefaultForAz"] and zone in (None, subnet["AvailabilityZone"]):
            return subnet
    raise error("MissingInput", f"No default subnet for availability zone: '{zone}'.")


def _groups(tables: dict, where: Where, request: dict, interface: dict, subnet: dict) -> list[dict]:
    ids = request.get("SecurityGroupIds") or interface.get("Groups")
    if ids:
        groups = find_all(tables, where, "ec2_security_groups", ids)
        for group in groups:
            if group["VpcId"] != subnet["VpcId"]:
                raise error(
                    "InvalidParameter",
                    f"Security group {group['GroupId']} and subnet {subnet['SubnetId']} belong to different networks.",
                )
        return groups
    own = [g for g in mine(tables, "ec2_security_groups", where) if g["VpcId"] == subnet["VpcId"]]
    names = request.get("SecurityGroups") or ["default"]
    for name in names:
        if not any(g["GroupName"] == name for g in own):
            raise error("InvalidGroup.NotFound", f"The security group '{name}' does not exist in VPC '{subnet['VpcId']}'")
    return [g for g in own if g["GroupName"] in names]


def _profile(where: Where, given: dict | None) -> dict | None:
    """By ARN or name; whether IAM knows it is not asked (a fault can say that it does not)."""
    if not given or not (given.get("Arn") or given.get("Name")):
        return None
    if given.get("Arn") and given.get("Name"):
        raise error(
            "InvalidParameterCombination", "The parameter 'iamInstanceProfile.name' may not be used in combination with "
            "'iamInstanceProfile.arn'"
        )
    arn = given.get("Arn") or f"arn:aws:iam::{where.account}:instance-profile/{given['Name']}"
    if not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:instance-profile/[\w+=,.@/-]+", arn):
        raise error(
            "InvalidParameterValue",
            f"Value ({arn}) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN",
        )
    return {"Arn": arn, "Id": "AIPA" + world.fixed_id("x", where, arn)[2:].upper()}


def _metadata_options(image: dict, given: dict) -> dict:
    newer = image.get("ImdsSupport") == "v2.0"
    return {
        "State": "applied",
        "HttpTokens": given.get("HttpTokens") or ("required" if newer else "optional"),
        "HttpPutResponseHopLimit": given.get("HttpPutResponseHopLimit") or (2 if newer else 1),
        "HttpEndpoint": given.get("HttpEndpoint") or "enabled",
        "HttpProtocolIpv6": given.get("HttpProtocolIpv6") or "disabled",
        "InstanceMetadataTags": given.get("InstanceMetadataTags") or "disabled",
    }


OPERATIONS = {"RunInstances": run_instances}
