"""Volumes as EC2's API tells of them, over devices that are pretended."""

from pathlib import Path

import pytest

from conftest import REGION, until
from ec2_ground import VOLUME, cloud, tagged  # noqa: F401
from evenkeel_testbed import faults, testbed, volumes
from evenkeel_testbed.ec2 import containers
from test_opsworks import refused

ZONE = f"{REGION}a"


@pytest.fixture(autouse=True)
def no_faults():
    yield
    faults.faults.remove()


def made(cloud, **more) -> str:
    return cloud("CreateVolume", **{"AvailabilityZone": ZONE, "Size": 10, "VolumeType": "gp3", **more})["VolumeId"]


def volume(cloud, volume_id: str) -> dict:
    return cloud("DescribeVolumes", VolumeIds=[volume_id])["Volumes"][0]


def state(cloud, volume_id: str) -> tuple:
    read = volume(cloud, volume_id)
    return read["State"], [a["State"] for a in read["Attachments"]]


def instance(cloud, zone: int = 0, **more) -> str:
    return cloud.running(SubnetId=cloud.subnets()[zone]["SubnetId"], **more)


def attached(cloud, **more) -> tuple[str, str]:
    volume_id, instance_id = made(cloud), instance(cloud)
    cloud("AttachVolume", VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf", **more)
    until(lambda: state(cloud, volume_id) == ("in-use", ["attached"]), 5, 0.01)
    return volume_id, instance_id


def test_a_volume_is_attached_and_detached_step_by_step(cloud):
    volume_id, instance_id = made(cloud), instance(cloud)
    assert state(cloud, volume_id) == ("available", [])
    answer = cloud("AttachVolume", VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    assert (answer["State"], answer["VolumeId"]) == ("attaching", volume_id)
    until(lambda: state(cloud, volume_id) == ("in-use", ["attached"]), 5, 0.01)
    assert ("/dev/sdf", volume_id) in [
        (m["DeviceName"], m["Ebs"]["VolumeId"]) for m in cloud.described(instance_id)["BlockDeviceMappings"]
    ]
    assert cloud("DetachVolume", VolumeId=volume_id)["State"] == "detaching"
    until(lambda: state(cloud, volume_id) == ("available", []), 5, 0.01)
    assert len(cloud.described(instance_id)["BlockDeviceMappings"]) == 1


def test_a_volume_whose_file_system_is_mounted_is_busy_until_it_is_unmounted(cloud, monkeypatch):
    volume_id, _ = attached(cloud)
    held = ["/dev/loop9"]
    monkeypatch.setattr(volumes, "attached", lambda file: held[0] if held else None)
    monkeypatch.setattr(volumes, "detach", lambda file: None)
    cloud("DetachVolume", VolumeId=volume_id)
    until(lambda: state(cloud, volume_id) == ("in-use", ["busy"]), 5, 0.01)
    with refused("VolumeInUse", volume_id):
        cloud("DeleteVolume", VolumeId=volume_id)
    held.clear()
    until(lambda: state(cloud, volume_id) == ("available", []), 5, 0.01)


def test_force_takes_the_volume_from_under_its_file_system(cloud, monkeypatch):
    volume_id, _ = attached(cloud)
    testbed.store.tables["machines"][_]["volumes"][0]["loop"] = "/dev/loop9"
    severed = []
    monkeypatch.setattr(volumes, "sever", lambda file, loop: severed.append((file.name, loop)))
    cloud("DetachVolume", VolumeId=volume_id, Force=True)
    until(lambda: state(cloud, volume_id) == ("available", []), 5, 0.01)
    assert severed == [(volume_id, "/dev/loop9")]


def test_wrong_attachments_are_refused(cloud):
    volume_id, instance_id = attached(cloud)
    elsewhere, second, spare = instance(cloud, zone=1), instance(cloud), made(cloud)
    with refused("VolumeInUse", volume_id):
        cloud("AttachVolume", VolumeId=volume_id, InstanceId=second, Device="/dev/sdf")
    with refused("InvalidVolume.ZoneMismatch", spare):
        cloud("AttachVolume", VolumeId=spare, InstanceId=elsewhere, Device="/dev/sdf")
    for device in ("/dev/sdf", "xvdf"):
        with refused("InvalidParameterValue", "already in use"):
            cloud("AttachVolume", VolumeId=spare, InstanceId=instance_id, Device=device)
    with refused("InvalidVolume.NotFound", "vol-00000000000000000"):
        cloud("AttachVolume", VolumeId="vol-00000000000000000", InstanceId=instance_id, Device="/dev/sdg")
    cloud("TerminateInstances", InstanceIds=[second])
    cloud.reaches(second, "terminated")
    with refused("IncorrectState", second):
        cloud("AttachVolume", VolumeId=spare, InstanceId=second, Device="/dev/sdg")
    with refused("InvalidAttachment.NotFound", elsewhere):
        cloud("DetachVolume", VolumeId=volume_id, InstanceId=elsewhere)
    with refused("IncorrectState", "available"):
        cloud("DetachVolume", VolumeId=spare)


def test_a_root_volume_stays_with_its_running_instance(cloud):
    root = cloud.described(instance(cloud))["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    with refused("OperationNotPermitted", root):
        cloud("DetachVolume", VolumeId=root)


def test_volumes_of_one_launch_are_tagged_each_for_itself(cloud):
    named = [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": "shop"}]}]
    instance(cloud, BlockDeviceMappings=[VOLUME], TagSpecifications=named)
    ids = {v["Attachments"][0]["Device"]: v["VolumeId"] for v in cloud("DescribeVolumes")["Volumes"]}
    cloud("CreateTags", Resources=[ids["/dev/sdf"]], Tags=[{"Key": "mount", "Value": "/var/lib/docker"}])
    assert len(volume(cloud, ids["/dev/sdf"])["Tags"]) == 2
    assert volume(cloud, ids["/dev/xvda"])["Tags"] == [{"Key": "Name", "Value": "shop"}]


def test_termination_deletes_what_is_to_be_deleted_and_frees_the_rest(cloud):
    kept = {**VOLUME, "DeviceName": "/dev/sdg", "Ebs": {**VOLUME["Ebs"], "DeleteOnTermination": False}}
    instance_id = instance(cloud, BlockDeviceMappings=[VOLUME, kept])
    before = {v["Attachments"][0]["Device"]: v["VolumeId"] for v in cloud("DescribeVolumes")["Volumes"]}
    file = Path(testbed.store.tables["ec2_volumes"][before["/dev/sdf"]]["_file"])
    assert file.stat().st_size == 120 << 30 and file.stat().st_blocks == 0
    cloud("TerminateInstances", InstanceIds=[instance_id])
    cloud.reaches(instance_id, "terminated")
    assert state(cloud, before["/dev/sdg"]) == ("available", [])
    for device in ("/dev/xvda", "/dev/sdf"):
        with refused("InvalidVolume.NotFound", before[device]):
            volume(cloud, before[device])
    assert not file.exists()


def test_what_becomes_of_a_volume_can_be_changed_later(cloud):
    instance_id = instance(cloud, BlockDeviceMappings=[VOLUME])
    keep = [{"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": False}}]
    cloud("ModifyInstanceAttribute", InstanceId=instance_id, BlockDeviceMappings=keep)
    cloud("TerminateInstances", InstanceIds=[instance_id])
    cloud.reaches(instance_id, "terminated")
    assert [(v["Size"], v["State"]) for v in cloud("DescribeVolumes")["Volumes"]] == [(120, "available")]


def test_a_volume_grows_and_is_optimized_and_done(cloud):
    testbed.store.tables["config"].update(state_delay=0.2, volume_optimizing=0.2)
    volume_id = made(cloud)
    answer = cloud("ModifyVolume", VolumeId=volume_id, Size=20)["VolumeModification"]
    assert (answer["ModificationState"], answer["OriginalSize"], answer["TargetSize"]) == ("modifying", 10, 20)
    seen = []

    def modification() -> str:
        found = cloud("DescribeVolumesModifications", VolumeIds=[volume_id])["VolumesModifications"][0]
        if found["ModificationState"] not in seen:
            seen.append(found["ModificationState"])
        return found["ModificationState"]

    until(lambda: modification() == "completed", 5, 0.01)
    assert seen == ["modifying", "optimizing", "completed"]
    assert volume(cloud, volume_id)["Size"] == 20
    assert Path(testbed.store.tables["ec2_volumes"][volume_id]["_file"]).stat().st_size == 20 << 30


def test_a_volume_is_not_modified_twice_in_a_row(cloud):
    testbed.store.tables["config"].update(state_delay=0.1, volume_optimizing=0.1)
    volume_id = made(cloud)
    cloud("ModifyVolume", VolumeId=volume_id, Size=20)
    with refused("IncorrectModificationState", volume_id):
        cloud("ModifyVolume", VolumeId=volume_id, Size=30)
    done = [{"Name": "modification-state", "Values": ["completed"]}]
    until(lambda: cloud("DescribeVolumesModifications", Filters=done)["VolumesModifications"], 5, 0.01)
    with refused("VolumeModificationRateExceeded", "6 hours"):
        cloud("ModifyVolume", VolumeId=volume_id, Size=30)
    testbed.store.tables["config"]["volume_modification_interval"] = 0
    cloud("ModifyVolume", VolumeId=volume_id, Size=30)
    assert volume(cloud, volume_id)["Size"] == 30


def test_a_volume_never_shrinks(cloud):
    volume_id = made(cloud)
    with refused("InvalidParameterValue", "New size cannot be smaller than existing size"):
        cloud("ModifyVolume", VolumeId=volume_id, Size=9)
    with refused("InvalidVolumeModification.NotFound", volume_id):
        cloud("DescribeVolumesModifications", VolumeIds=[volume_id])


def test_type_and_performance_change_without_a_change_of_size(cloud):
    volume_id = made(cloud, VolumeType="gp2", Size=100)
    assert volume(cloud, volume_id)["Iops"] == 300
    cloud("ModifyVolume", VolumeId=volume_id, VolumeType="gp3", Iops=4000, Throughput=250)
    read = volume(cloud, volume_id)
    assert (read["VolumeType"], read["Iops"], read["Throughput"], read["Size"]) == ("gp3", 4000, 250, 100)


@pytest.mark.parametrize(
    "wrong, code",
    [
        ({"VolumeType": "gp9"}, "InvalidParameterValue"),
        ({"Size": 70000}, "InvalidParameterValue"),
        ({"VolumeType": "gp2", "Iops": 3000}, "InvalidParameterCombination"),
        ({"VolumeType": "io2"}, "MissingParameter"),
        ({"Iops": 100}, "InvalidParameterValue"),
        ({"Throughput": 5000}, "InvalidParameterValue"),
        ({"VolumeType": "gp2", "Throughput": 125}, "InvalidParameterCombination"),
        ({"AvailabilityZone": "mars-1a"}, "InvalidZone.NotFound"),
        ({"Size": None}, "MissingParameter"),
    ],
)
def test_impossible_volumes_are_refused(cloud, wrong, code):
    with refused(code, ""):
        made(cloud, **wrong)
    assert cloud("DescribeVolumes")["Volumes"] == []


def test_a_volume_is_created_once_per_token(cloud):
    assert made(cloud, ClientToken="one") == made(cloud, ClientToken="one")
    with refused("IdempotentParameterMismatch", "token"):
        made(cloud, ClientToken="one", Size=11)


def test_volumes_are_filtered_and_paged(cloud):
    instance_id = instance(cloud, BlockDeviceMappings=[VOLUME], TagSpecifications=tagged("volume", evenkeel__stack="shop"))
    loose = {made(cloud, TagSpecifications=tagged("volume", other="x")) for _ in range(5)}

    def found(name: str, *values: str) -> set:
        return {v["VolumeId"] for v in cloud("DescribeVolumes", Filters=[{"Name": name, "Values": list(values)}])["Volumes"]}

    assert found("status", "available") == found("tag-key", "other") == loose
    assert found("tag:evenkeel:stack", "shop") == found("attachment.instance-id", instance_id) != set()
    first = cloud("DescribeVolumes", MaxResults=5)
    rest = cloud("DescribeVolumes", MaxResults=5, NextToken=first["NextToken"])
    assert len(first["Volumes"]) == 5 and len(rest["Volumes"]) == 2 and "NextToken" not in rest


def test_a_volume_that_is_in_use_is_not_deleted(cloud):
    volume_id, instance_id = attached(cloud)
    with refused("VolumeInUse", instance_id):
        cloud("DeleteVolume", VolumeId=volume_id)
    cloud("DetachVolume", VolumeId=volume_id)
    until(lambda: state(cloud, volume_id)[0] == "available", 5, 0.01)
    cloud("DeleteVolume", VolumeId=volume_id)
    with refused("InvalidVolume.NotFound", volume_id):
        cloud("DeleteVolume", VolumeId=volume_id)


@pytest.mark.parametrize("name, node", [("/dev/sdf", "/dev/xvdf"), ("xvdg", "/dev/xvdg"), ("/dev/xvdh", "/dev/xvdh")])
def test_devices_have_the_kernels_names(name, node):
    assert containers.device_node(name) == node
