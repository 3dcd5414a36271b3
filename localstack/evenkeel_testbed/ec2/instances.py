"""EC2 instances: the requests. What happens to a machine afterwards is in life.py."""

import base64
import time

from .. import paths, testbed
from . import life
from .pages import filtered, page
from .shown import CODES, instance as shown, state
from .world import Where, changing, error, find, find_all, mine, reading
from ..testbed import setting

CONSOLE_LIMIT = 64 * 1024


def describe_instances(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        _hide(tables, where)
        ids = request.get("InstanceIds")
        found = find_all(tables, where, "ec2_instances", ids) if ids else mine(tables, "ec2_instances", where)
        found = [i for i in found if not i.get("_hidden")]
        getters = {
            "instance-id": lambda i: i["InstanceId"],
            "instance-state-name": lambda i: i["State"],
            "instance-state-code": lambda i: CODES[i["State"]],
            "client-token": lambda i: i["ClientToken"],
            "vpc-id": lambda i: None if i["State"] == "terminated" else i["VpcId"],
            "subnet-id": lambda i: None if i["State"] == "terminated" else i["SubnetId"],
            "image-id": lambda i: i["ImageId"],
            "instance-type": lambda i: i["InstanceType"],
            "key-name": lambda i: i["KeyName"],
            "availability-zone": lambda i: i["Placement"]["AvailabilityZone"],
            "private-ip-address": lambda i: None if i["State"] == "terminated" else i["PrivateIpAddress"],
            "ip-address": lambda i: i.get("PublicIpAddress"),
            "private-dns-name": lambda i: i["PrivateDnsName"],
            "instance.group-id": lambda i: i["_groups"],
            "iam-instance-profile.arn": lambda i: (i.get("IamInstanceProfile") or {}).get("Arn"),
            "reservation-id": lambda i: i["_reservation"],
            "owner-id": lambda i: i["_account"],
            "block-device-mapping.volume-id": lambda i: [
                v["VolumeId"]
                for v in tables["ec2_volumes"].values()
                if any(a["InstanceId"] == i["InstanceId"] for a in v["Attachments"])
            ],
        }
        found, more = page(where, filtered(found, request, getters), request, "InstanceId", "InstanceIds")
        reservations: dict[str, dict] = {}
        for instance in found:
            reservation = reservations.setdefault(
                instance["_reservation"],
                {
                    "ReservationId": instance["_reservation"],
                    "OwnerId": instance["_account"],
                    "Groups": [],
                    "Instances": [],
                },
            )
            reservation["Instances"].append(shown(tables, instance))
        return {"Reservations": list(reservations.values()), **more}


def start_instances(where: Where, request: dict) -> dict:
    """Starting what runs already changes nothing."""
    return _change(where, request, "StartingInstances", {"stopped"}, {"running", "pending"}, "pending", "started")


def stop_instances(where: Where, request: dict) -> dict:
    return _change(where, request, "StoppingInstances", {"running"}, {"stopped", "stopping"}, "stopping", "stopped")


def terminate_instances(where: Where, request: dict) -> dict:
    """ "If you terminate an instance more than once, each call succeeds." """
    with reading(where) as tables:
        for instance in find_all(tables, where, "ec2_instances", request["InstanceIds"]):
            if instance["_protected"]:
                raise error(
                    "OperationNotPermitted",
                    f"The instance '{instance['InstanceId']}' may not be terminated. Modify its 'disableApiTermination' "
                    "instance attribute and try again.",
                )
    live = {"pending", "running", "stopping", "stopped"}
    over = {"shutting-down", "terminated"}
    return _change(where, request, "TerminatingInstances", live, over, "shutting-down", "terminated")


def reboot_instances(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        instances = find_all(tables, where, "ec2_instances", request["InstanceIds"])
        for instance in instances:
            if instance["State"] in ("pending", "stopping", "stopped"):
                raise _wrong_state(instance, "rebooted")
    for instance in instances:
        if instance["State"] == "running":
            life.reboot(instance["InstanceId"])
    return {}


def get_console_output(where: Where, request: dict) -> dict:
    """What the boot and the user-data wrote, the last 64 KB of it, base64-encoded. AWS's default output may be some
    minutes old; here it is always the latest."""
    with reading(where) as tables:
        instance = find(tables, where, "ec2_instances", request["InstanceId"])
    file = paths.console_log(instance["InstanceId"])
    output = file.read_bytes()[-CONSOLE_LIMIT:] if file.exists() else b""
    return {
        "InstanceId": instance["InstanceId"],
        "Timestamp": testbed.now(),
        "Output": base64.b64encode(output).decode(),
    }


def modify_instance_attribute(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        instance = find(tables, where, "ec2_instances", request["InstanceId"])
        if request.get("Groups"):
            groups = find_all(tables, where, "ec2_security_groups", request["Groups"])
            for group in groups:
                if group["VpcId"] != instance["VpcId"]:
                    raise error(
                        "InvalidGroup.NotFound",
                        f"The security group '{group['GroupId']}' does not exist in VPC '{instance['VpcId']}'",
                    )
            instance["_groups"] = [g["GroupId"] for g in groups]
            instance["_group_names"] = [g["GroupName"] for g in groups]
        if request.get("DisableApiTermination"):
            instance["_protected"] = bool(request["DisableApiTermination"].get("Value"))
        for mapping in request.get("BlockDeviceMappings") or []:
            _delete_on_termination(tables, instance, mapping)
        for member in ("InstanceType", "UserData"):
            if request.get(member) and instance["State"] != "stopped":
                raise error(
                    "IncorrectInstanceState",
                    f"The instance '{instance['InstanceId']}' is not in the 'stopped' state.",
                )
        if request.get("InstanceType"):
            instance["InstanceType"] = request["InstanceType"]["Value"]
        if request.get("UserData"):
            value = request["UserData"].get("Value") or b""
            instance["_user_data"] = (value if isinstance(value, bytes) else value.encode()).decode("latin-1")
    return {}


def describe_instance_attribute(where: Where, request: dict) -> dict:
    name = request["Attribute"]
    with reading(where) as tables:
        instance = find(tables, where, "ec2_instances", request["InstanceId"])
        answers = {
            "userData": lambda: {"UserData": {"Value": base64.b64encode(instance["_user_data"].encode("latin-1")).decode()}},
            "instanceType": lambda: {"InstanceType": {"Value": instance["InstanceType"]}},
            "disableApiTermination": lambda: {"DisableApiTermination": {"Value": instance["_protected"]}},
            "groupSet": lambda: {"Groups": [{"GroupId": group_id} for group_id in instance["_groups"]]},
            "rootDeviceName": lambda: {"RootDeviceName": {"Value": instance["RootDeviceName"]}},
            "instanceInitiatedShutdownBehavior": lambda: {
                "InstanceInitiatedShutdownBehavior": {"Value": instance["_shutdown_behavior"]}
            },
        }
        if name not in answers:
            raise error("InvalidParameterValue", f"Value ({name}) for parameter attribute is invalid. Unknown attribute.")
        return {"InstanceId": instance["InstanceId"], **answers[name]()}


def modify_instance_metadata_options(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        instance = find(tables, where, "ec2_instances", request["InstanceId"])
        for member in instance["MetadataOptions"]:
            if request.get(member) is not None:
                instance["MetadataOptions"][member] = request[member]
        return {"InstanceId": instance["InstanceId"], "InstanceMetadataOptions": instance["MetadataOptions"]}


def _change(where: Where, request: dict, member: str, before: set, already: set, after: str, word: str) -> dict:
    """Every named instance, or none, goes from a state in `before` to `after`; one that is there already stays."""
    with changing(where) as tables:
        instances = find_all(tables, where, "ec2_instances", request["InstanceIds"])
        for instance in instances:
            if instance["State"] not in before | already:
                raise _wrong_state(instance, word)
        changes, moved = [], []
        for instance in instances:
            previous = instance["State"]
            if previous in before:
                life.move(instance, after)
                moved.append(instance["InstanceId"])
            changes.append(
                {
                    "InstanceId": instance["InstanceId"],
                    "PreviousState": state(previous),
                    "CurrentState": state(instance["State"]),
                }
            )
    for instance_id in moved:
        life.go(instance_id)
    return {member: changes}


def _wrong_state(instance: dict, word: str):
    return error(
        "IncorrectInstanceState",
        f"The instance '{instance['InstanceId']}' is not in a state from which it can be {word}.",
    )


def _delete_on_termination(tables: dict, instance: dict, mapping: dict) -> None:
    # "If no value is specified for DeleteOnTermination, the default is true" (API reference).
    wanted = (mapping.get("Ebs") or {}).get("DeleteOnTermination", True)
    for volume in tables["ec2_volumes"].values():
        for attachment in volume["Attachments"]:
            if (attachment["InstanceId"], attachment["Device"]) == (instance["InstanceId"], mapping.get("DeviceName")):
                attachment["DeleteOnTermination"] = wanted
                return
    raise error(
        "InvalidInstanceAttributeValue", f"No device is currently mapped at {mapping.get('DeviceName')}"
    )


def _hide(tables: dict, where: Where) -> None:
    """ "Recently terminated instances might appear in the returned results. This interval is usually less than one
    hour" (API reference of DescribeInstances)."""
    for instance in mine(tables, "ec2_instances", where):
        ended = instance.get("_terminated_at")
        if ended and time.time() - ended >= setting("terminated_visible"):
            instance["_hidden"] = True


OPERATIONS = {
    "DescribeInstances": describe_instances,
    "StartInstances": start_instances,
    "StopInstances": stop_instances,
    "TerminateInstances": terminate_instances,
    "RebootInstances": reboot_instances,
    "GetConsoleOutput": get_console_output,
    "ModifyInstanceAttribute": modify_instance_attribute,
    "DescribeInstanceAttribute": describe_instance_attribute,
    "ModifyInstanceMetadataOptions": modify_instance_metadata_options,
}
