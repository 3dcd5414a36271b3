"""DescribeVolumes: the EBS volumes that OpsWorks made for a layer's instances."""

from .errors import validation
from .resources import find, find_all, of_stack, reading, stack


def describe_volumes(region: str, request: dict) -> dict:
    with reading(region) as tables:
        if request.get("VolumeIds"):
            found = find_all(tables, region, "volumes", request["VolumeIds"])
        elif request.get("InstanceId"):
            instance = find(tables, region, "instances", request["InstanceId"])
            found = [v for v in tables["volumes"].values() if v.get("InstanceId") == instance["InstanceId"]]
        elif request.get("StackId"):
            found = of_stack(tables, "volumes", stack(tables, region, request["StackId"])["StackId"])
        elif request.get("RaidArrayId"):
            found = []
        else:
            raise validation(
                "Please provide either one or more volume IDs, an instance ID, a stack ID or a RAID array ID"
            )
        return {"Volumes": [dict(v) for v in found]}


OPERATIONS = {"DescribeVolumes": describe_volumes}
