"""How instances look in answers."""

from .pages import tag_list

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


def state(name: str) -> dict:
    return {"Code": CODES[name], "Name": name}


def reservation(tables: dict, instances: list[dict]) -> dict:
    return {
        "ReservationId": instances[0]["_reservation"],
        "OwnerId": instances[0]["_account"],
        "Groups": [],
        "Instances": [instance(tables, i) for i in instances],
    }


def instance(tables: dict, record: dict) -> dict:
    groups = [{"GroupId": g, "GroupName": n} for g, n in zip(record["_groups"], record["_group_names"])]
    gone = record["State"] == "terminated"
    shown = {
        **record,
        "State": state(record["State"]),
        "Tags": tag_list(record["Tags"]),
        "Architecture": "x86_64",
        "Hypervisor": "xen",
        "VirtualizationType": "hvm",
        "RootDeviceType": "ebs",
        "PlatformDetails": "Linux/UNIX",
        "ProductCodes": [],
        "SourceDestCheck": True,
        "CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 2},
        "SecurityGroups": [] if gone else groups,
        "BlockDeviceMappings": mappings(tables, record),
        "NetworkInterfaces": [] if gone else [interface(record, groups)],
    }
    if gone:
        # A terminated instance has its id, its tags and its last words, and no place any more.
        for member in ("PrivateIpAddress", "PublicIpAddress", "SubnetId", "VpcId", "IamInstanceProfile"):
            shown.pop(member, None)
        shown["PrivateDnsName"] = shown["PublicDnsName"] = ""
    return shown


def mappings(tables: dict, record: dict) -> list[dict]:
    return [
        {
            "DeviceName": attachment["Device"],
            "Ebs": {
                "VolumeId": volume["VolumeId"],
                "AttachTime": attachment["AttachTime"],
                "DeleteOnTermination": attachment["DeleteOnTermination"],
                "Status": "attached" if attachment["State"] == "busy" else attachment["State"],
            },
        }
        for volume in tables["ec2_volumes"].values()
        for attachment in volume["Attachments"]
        if attachment["InstanceId"] == record["InstanceId"] and attachment["State"] != "detached"
    ]


def interface(record: dict, groups: list[dict]) -> dict:
    address = {"Primary": True, "PrivateIpAddress": record["PrivateIpAddress"], "PrivateDnsName": record["PrivateDnsName"]}
    return {
        "NetworkInterfaceId": record["_interface"],
        "SubnetId": record["SubnetId"],
        "VpcId": record["VpcId"],
        "OwnerId": record["_account"],
        "Status": "in-use",
        "MacAddress": record["_mac"],
        "PrivateIpAddress": record["PrivateIpAddress"],
        "PrivateDnsName": record["PrivateDnsName"],
        "PrivateIpAddresses": [address],
        "SourceDestCheck": True,
        "InterfaceType": "interface",
        "Groups": groups,
        "Attachment": {"DeviceIndex": 0, "DeleteOnTermination": True, "Status": "attached", "AttachTime": record["LaunchTime"]},
    }
