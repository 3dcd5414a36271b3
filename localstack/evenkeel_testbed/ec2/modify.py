"""ModifyVolume: a volume grows under the instance that uses it, or changes its type, IOPS and throughput."""

import datetime
import time
from pathlib import Path

from .. import volumes
from . import ebs
from .pages import filtered, page
from .world import Where, changing, error, find, find_all, mine, reading
from ..testbed import setting

MEMBERS = ("Size", "Iops", "Throughput", "VolumeType")


def modify_volume(where: Where, request: dict) -> dict:
    """ "After you initiate a volume modification, you must wait for that modification to reach the completed state
    before you can initiate another", and for six hours (user guide, "Modify an Amazon EBS volume")."""
    with changing(where) as tables:
        volume = find(tables, where, "ec2_volumes", request["VolumeId"])
        volume_id, last = volume["VolumeId"], volume.get("_modification")
        if volume["State"] not in ("available", "in-use"):
            raise error("IncorrectState", f"The volume '{volume_id}' is in the '{volume['State']}' state.")
        if last and state(last) != "completed":
            raise error(
                "IncorrectModificationState",
                f"The modification state of the volume '{volume_id}' is '{state(last)}'; another one can be requested "
                "when it is 'completed'.",
            )
        if last and time.time() - last["began"] < setting("volume_modification_interval"):
            raise error(
                "VolumeModificationRateExceeded",
                "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications "
                "per EBS volume.",
            )
        before = {member: volume.get(member) for member in MEMBERS}
        if request.get("Size") and request["Size"] < volume["Size"]:
            raise error("InvalidParameterValue", "New size cannot be smaller than existing size")
        kind = request.get("VolumeType") or volume["VolumeType"]
        wanted = {"Size": volume["Size"], **{m: request[m] for m in MEMBERS if m in request}, "VolumeType": kind}
        # Performance that is not named stays, where the type has any of its own to choose.
        for member in ("Iops", "Throughput"):
            if member not in request and kind == volume["VolumeType"] and kind != "gp2" and volume.get(member):
                wanted[member] = volume[member]
        after = ebs.checked({**wanted, "Encrypted": volume["Encrypted"]})
        if volume["_file"] and after["Size"] > volume["Size"]:
            volumes.grow(Path(volume["_file"]), after["Size"])
        volume.pop("Throughput", None)
        volume.update(after)
        volume["_modification"] = {
            "began": time.time(),
            "before": before,
            "after": {member: volume.get(member) for member in MEMBERS},
        }
        return {"VolumeModification": _shown(volume)}


def describe_modifications(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        ids = request.get("VolumeIds")
        found = find_all(tables, where, "ec2_volumes", ids) if ids else mine(tables, "ec2_volumes", where)
        found = [v for v in found if v.get("_modification")]
        if ids and not found:
            raise error(
                "InvalidVolumeModification.NotFound", f"Modification for volume '{ids[0]}' does not exist."
            )
        getters = {
            "volume-id": lambda v: v["VolumeId"],
            "modification-state": lambda v: state(v["_modification"]),
            "original-size": lambda v: v["_modification"]["before"]["Size"],
            "target-size": lambda v: v["_modification"]["after"]["Size"],
            "target-volume-type": lambda v: v["_modification"]["after"]["VolumeType"],
        }
        found, more = page(where, filtered(found, request, getters), request, "VolumeId", "VolumeIds")
        return {"VolumesModifications": [_shown(v) for v in found], **more}


def state(modification: dict) -> str:
    """`modifying` for as long as a state lasts here, `optimizing` for `volume_optimizing` seconds, then `completed`. The
    new size can be used from `optimizing` on."""
    age = time.time() - modification["began"]
    if age < setting("state_delay"):
        return "modifying"
    return "optimizing" if age < setting("state_delay") + setting("volume_optimizing") else "completed"


def _shown(volume: dict) -> dict:
    modification = volume["_modification"]
    began, word = modification["began"], state(modification)
    whole = setting("state_delay") + setting("volume_optimizing")
    done = 100 if word == "completed" else int(100 * (time.time() - began) / whole) if whole else 100
    shown = {
        "VolumeId": volume["VolumeId"],
        "ModificationState": word,
        "Progress": min(done, 100 if word == "completed" else 99),
        "StartTime": _moment(began),
        **{f"Target{member}": value for member, value in modification["after"].items()},
        **{f"Original{member}": value for member, value in modification["before"].items()},
    }
    if word == "completed":
        shown["EndTime"] = _moment(began + whole)
    return shown


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()


OPERATIONS = {"ModifyVolume": modify_volume, "DescribeVolumesModifications": describe_modifications}
