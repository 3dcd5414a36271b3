"""EBS volumes: the requests, and the volumes that come and go with an instance. The devices are volumes.py's.

A root volume has a record and no device of its own: the instance's container is its root device.
"""

from pathlib import Path

from .. import machines, testbed, volumes
from . import containers, devices, world
from .network import given_tags, zones
from .pages import filtered, page, tag_list
from .world import Where, changing, error, find, find_all, mine, reading

# Sizes in GiB, and the bounds of IOPS and of throughput in MiB/s, per volume type (API reference of CreateVolume).
TYPES = {
    "gp2": {"size": (1, 16384)},
    "gp3": {"size": (1, 65536), "iops": (3000, 80000), "throughput": (125, 2000)},
    "io1": {"size": (4, 16384), "iops": (100, 64000), "required": True},
    "io2": {"size": (4, 65536), "iops": (100, 256000), "required": True},
    "st1": {"size": (125, 16384)},
    "sc1": {"size": (125, 16384)},
    "standard": {"size": (1, 1024)},
}


def create_volume(where: Where, request: dict) -> dict:
    zone = request.get("AvailabilityZone")
    if zone not in zones(where):
        raise error("InvalidZone.NotFound", f"The zone '{zone}' does not exist.")
    wanted = checked(request)
    token = request.get("ClientToken")
    with changing(where) as tables:
        if token:
            for volume in mine(tables, "ec2_volumes", where):
                if volume.get("_token") == token:
                    if volume["_asked"] != [zone, wanted]:
                        raise error("IdempotentParameterMismatch", "The client token was used with other parameters")
                    return shown(volume)
        volume = _new(tables, where, zone, wanted, given_tags(request, "volume"))
        volume["_token"], volume["_asked"] = token, [zone, wanted]
        volume["State"] = "creating"
        answer = shown(volume)
        volume["State"] = "available"
    return answer


def describe_volumes(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        ids = request.get("VolumeIds")
        found = find_all(tables, where, "ec2_volumes", ids) if ids else mine(tables, "ec2_volumes", where)
        getters = {
            "volume-id": lambda v: v["VolumeId"],
            "status": lambda v: v["State"],
            "availability-zone": lambda v: v["AvailabilityZone"],
            "encrypted": lambda v: v["Encrypted"],
            "size": lambda v: v["Size"],
            "volume-type": lambda v: v["VolumeType"],
            "attachment.instance-id": lambda v: [a["InstanceId"] for a in v["Attachments"]],
            "attachment.device": lambda v: [a["Device"] for a in v["Attachments"]],
            "attachment.status": lambda v: [a["State"] for a in v["Attachments"]],
            "attachment.delete-on-termination": lambda v: [a["DeleteOnTermination"] for a in v["Attachments"]],
        }
        found, more = page(where, filtered(found, request, getters), request, "VolumeId", "VolumeIds")
        return {"Volumes": [shown(v) for v in found], **more}


def delete_volume(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        volume = find(tables, where, "ec2_volumes", request["VolumeId"])
        if volume["Attachments"]:
            raise error(
                "VolumeInUse",
                f"Volume {volume['VolumeId']} is currently attached to {volume['Attachments'][0]['InstanceId']}",
            )
        forget(tables, volume)
    return {}


def attach_volume(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        volume = find(tables, where, "ec2_volumes", request["VolumeId"])
        instance = find(tables, where, "ec2_instances", request["InstanceId"])
        volume_id, instance_id, device = volume["VolumeId"], instance["InstanceId"], request["Device"]
        if volume["Attachments"]:
            raise error("VolumeInUse", f"{volume_id} is already attached to an instance")
        if volume["State"] != "available":
            raise error("IncorrectState", f"Volume '{volume_id}' is not in the 'available' state.")
        if instance["State"] not in ("running", "stopped"):
            raise error("IncorrectState", f"Instance '{instance_id}' is not 'running'.")
        zone = instance["Placement"]["AvailabilityZone"]
        if volume["AvailabilityZone"] != zone:
            raise error(
                "InvalidVolume.ZoneMismatch",
                f"The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'",
            )
        nodes = {
            containers.device_node(a["Device"])
            for v in tables["ec2_volumes"].values()
            for a in v["Attachments"]
            if a["InstanceId"] == instance_id
        }
        if containers.device_node(device) in nodes:
            raise error(
                "InvalidParameterValue",
                f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
            )
        attachment = _attachment(instance_id, device, delete=False)
        attachment["State"] = "attaching"
        volume["Attachments"], volume["State"] = [attachment], "in-use"
        machine = machines.get(instance_id)
        machine.volumes = of_machine(tables, instance_id)
        machines.save(machine)
        answer = {**attachment, "VolumeId": volume_id}
    devices.go_attach(volume_id)
    return answer


def detach_volume(where: Where, request: dict) -> dict:
    """ "Make sure to unmount any file systems on the device within your operating system before detaching the volume",
    or it stays `busy` until then (API reference of DetachVolume)."""
    with changing(where) as tables:
        volume = find(tables, where, "ec2_volumes", request["VolumeId"])
        volume_id = volume["VolumeId"]
        for member, mine_ in (("InstanceId", "InstanceId"), ("Device", "Device")):
            given = request.get(member)
            if given and not any(a[mine_] == given for a in volume["Attachments"]):
                raise error("InvalidAttachment.NotFound", f"The volume '{volume_id}' is not attached to '{given}'")
        if not volume["Attachments"]:
            raise error("IncorrectState", f"Volume '{volume_id}' is in the 'available' state.")
        attachment = volume["Attachments"][0]
        instance = tables["ec2_instances"][attachment["InstanceId"]]
        if volume["_root"] and instance["State"] not in ("stopped", "terminated"):
            raise error(
                "OperationNotPermitted",
                f"Unable to detach root volume '{volume_id}' from instance '{attachment['InstanceId']}'",
            )
        attachment["State"] = "detaching"
        answer = {**attachment, "VolumeId": volume_id}
    devices.go(volume_id, bool(request.get("Force")))
    return answer


def checked(wanted: dict, least: int | None = None) -> dict:
    """Size, type, IOPS and throughput of a volume, complete, or the error that AWS has for it."""
    kind = wanted.get("VolumeType") or "gp2"
    if kind not in TYPES:
        raise error("InvalidParameterValue", f"Invalid value '{kind}' for VolumeType.")
    rules = TYPES[kind]
    size = wanted.get("Size") or wanted.get("VolumeSize") or least
    if not size:
        raise error("MissingParameter", "The request must contain the parameter size or snapshotId")
    if not rules["size"][0] <= size <= rules["size"][1]:
        raise error(
            "InvalidParameterValue",
            f"Volume of {size}GiB is invalid; the {kind} volume size must be between {rules['size'][0]}GiB and "
            f"{rules['size'][1]}GiB.",
        )
    values = {"Size": size, "VolumeType": kind, "Encrypted": bool(wanted.get("Encrypted"))}
    for member, rule in (("Iops", "iops"), ("Throughput", "throughput")):
        value = wanted.get(member)
        if rule not in rules and value is not None:
            raise error("InvalidParameterCombination", f"The parameter {member} is not supported for {kind} volumes.")
        if value is None and rule == "iops" and rules.get("required"):
            raise error("MissingParameter", f"The parameter iops must be specified for {kind} volumes.")
        if rule in rules:
            value = rules[rule][0] if value is None else value
            if not rules[rule][0] <= value <= rules[rule][1]:
                raise error(
                    "InvalidParameterValue",
                    f"Volume {member.lower()} of {value} is not between {rules[rule][0]} and {rules[rule][1]}.",
                )
            values[member] = value
    if kind == "gp2":
        values["Iops"] = min(16000, max(100, 3 * size))
    return values


def launch_mappings(given: list[dict], root_device: str, root_size: int) -> list[dict]:
    """The volumes that a launch makes: the root device's first."""
    root = {"DeviceName": root_device, "root": True, "delete": True, "wanted": {"VolumeType": "gp3"}}
    others, seen = [], set()
    for mapping in given:
        device, ebs = mapping.get("DeviceName"), mapping.get("Ebs") or {}
        if not device:
            raise error("MissingParameter", "The request must contain the parameter BlockDeviceMapping.DeviceName")
        if device in seen:
            raise error("InvalidBlockDeviceMapping", f"Duplicate device name {device}")
        seen.add(device)
        if device == root_device:
            root["wanted"] = {"VolumeType": "gp3", **ebs}
            root["delete"] = ebs.get("DeleteOnTermination", True)
        elif ebs:
            others.append({"DeviceName": device, "root": False, "delete": ebs.get("DeleteOnTermination", True), "wanted": ebs})
    if (root["wanted"].get("VolumeSize") or root_size) < root_size:
        raise error(
            "InvalidBlockDeviceMapping",
            f"Volume of size {root['wanted']['VolumeSize']}GB is smaller than snapshot, expect size >= {root_size}GB",
        )
    root["wanted"] = checked(root["wanted"], least=root_size)
    for other in others:
        other["wanted"] = checked(other["wanted"])
    return [root, *others]


def make_for_launch(tables: dict, where: Where, instance: dict, mappings: list[dict], tags: dict) -> None:
    for mapping in mappings:
        zone = instance["Placement"]["AvailabilityZone"]
        volume = _new(tables, where, zone, mapping["wanted"], tags, root=mapping["root"])
        volume["Attachments"] = [_attachment(instance["InstanceId"], mapping["DeviceName"], mapping["delete"])]
        volume["State"] = "in-use"


def of_machine(tables: dict, instance_id: str) -> list[dict]:
    """The instance's volumes as machines.py and the control endpoint know them; a loop device that is there is kept."""
    before = {v["file"]: v["loop"] for v in (tables["machines"].get(instance_id) or {"volumes": []})["volumes"]}
    return [
        {"file": v["_file"], "device": a["Device"], "mount": "", "loop": before.get(v["_file"], "")}
        for v in tables["ec2_volumes"].values()
        for a in v["Attachments"]
        if a["InstanceId"] == instance_id and v["_file"]
    ]


def release(tables: dict, instance_id: str) -> None:
    """A terminated instance's volumes: deleted, or `available` again where DeleteOnTermination is false."""
    for volume in list(tables["ec2_volumes"].values()):
        for attachment in volume["Attachments"]:
            if attachment["InstanceId"] == instance_id:
                volume["Attachments"], volume["State"] = [], "available"
                if attachment["DeleteOnTermination"]:
                    forget(tables, volume)


def forget(tables: dict, volume: dict) -> None:
    del tables["ec2_volumes"][volume["VolumeId"]]
    if volume["_file"]:
        volumes.delete(Path(volume["_file"]))


def shown(volume: dict) -> dict:
    return {
        **volume,
        "Attachments": [{**a, "VolumeId": volume["VolumeId"]} for a in volume["Attachments"]],
        "Tags": tag_list(volume["Tags"]),
        "MultiAttachEnabled": False,
        "SnapshotId": "",
    }


def _new(tables: dict, where: Where, zone: str, wanted: dict, tags: dict, root: bool = False) -> dict:
    volume_id = testbed.ec2_id("vol")
    if wanted["Encrypted"]:
        key = world.fixed_id("key", where, "aws/ebs")[4:]
        wanted = {**wanted, "KmsKeyId": f"arn:aws:kms:{where.region}:{where.account}:key/{key}"}
    volume = world.record(
        where,
        VolumeId=volume_id,
        AvailabilityZone=zone,
        CreateTime=testbed.now(),
        State="available",
        Attachments=[],
        Tags=dict(tags),
        _root=root,
        _file=None if root else str(volumes.create(volume_id, wanted["Size"])),
        **wanted,
    )
    tables["ec2_volumes"][volume_id] = volume
    return volume


def _attachment(instance_id: str, device: str, delete: bool) -> dict:
    return {
        "InstanceId": instance_id,
        "Device": device,
        "State": "attached",
        "AttachTime": testbed.now(),
        "DeleteOnTermination": delete,
    }


OPERATIONS = {
    "CreateVolume": create_volume,
    "DescribeVolumes": describe_volumes,
    "DeleteVolume": delete_volume,
    "AttachVolume": attach_volume,
    "DetachVolume": detach_volume,
}
