"""OpsWorks instances: the requests. What happens to a machine afterwards is in boot.py."""

import re

from . import boot, testbed
from .errors import not_found, validation
from .resources import exactly_one, find, find_all, of_stack, reading, stack
from .testbed import store

# What can be changed only while there is no machine running with the old value.
WHILE_STOPPED = ("Hostname", "InstanceType", "LayerIds", "AmiId", "Os", "Architecture", "EbsOptimized")


def create_instance(region: str, request: dict) -> dict:
    instance_id = testbed.new_id()
    with store.change() as tables:
        owner = stack(tables, region, request["StackId"])
        layers = _layers(tables, region, owner["StackId"], request["LayerIds"])
        hostname = request.get("Hostname") or suggestion(tables, layers[0])
        _check_hostname(tables, owner["StackId"], hostname)
        inherited = {
            "Os": owner["DefaultOs"],
            "AvailabilityZone": owner["DefaultAvailabilityZone"],
            "RootDeviceType": owner["DefaultRootDeviceType"],
            "SubnetId": owner.get("DefaultSubnetId"),
            "SshKeyName": owner.get("DefaultSshKeyName"),
        }
        tables["instances"][instance_id] = {
            "AgentVersion": "INHERIT",
            "Architecture": "x86_64",
            "BlockDeviceMappings": [],
            "EbsOptimized": False,
            "InstallUpdatesOnBoot": True,
            "Tenancy": "default",
            "VirtualizationType": "hvm",
            **{key: value for key, value in inherited.items() if value},
            **request,
            "Hostname": hostname,
            "InstanceId": instance_id,
            "Arn": testbed.arn(owner["Region"], "instance", instance_id),
            "InfrastructureClass": "ec2",
            "InstanceProfileArn": layers[0].get("CustomInstanceProfileArn")
            or owner["DefaultInstanceProfileArn"],
            "SecurityGroupIds": layers[0].get("CustomSecurityGroupIds") or [],
            "Platform": "Linux",
            "Status": "stopped",
            "CreatedAt": testbed.now(),
            "_generation": 0,
        }
    return {"InstanceId": instance_id}


def describe_instances(region: str, request: dict) -> dict:
    by = exactly_one(
        request,
        ("InstanceIds", "StackId", "LayerId"),
        "Please provide either one or more instance IDs or one stack ID or one layer ID",
    )
    with reading(region) as tables:
        if by == "InstanceIds":
            found = find_all(tables, region, "instances", request["InstanceIds"])
        elif by == "StackId":
            found = of_stack(tables, "instances", stack(tables, region, request["StackId"])["StackId"])
        else:
            layer = find(tables, region, "layers", request["LayerId"])
            found = [
                instance
                for instance in of_stack(tables, "instances", layer["StackId"])
                if layer["LayerId"] in instance["LayerIds"]
            ]
        return {"Instances": [dict(instance) for instance in found]}


def update_instance(region: str, request: dict) -> dict:
    with store.change() as tables:
        instance = find(tables, region, "instances", request["InstanceId"])
        changed = [key for key in WHILE_STOPPED if key in request and request[key] != instance.get(key)]
        if changed and instance["Status"] != "stopped":
            raise validation(f"The instance must be stopped to change its {', '.join(changed)}")
        if "LayerIds" in changed:
            _layers(tables, region, instance["StackId"], request["LayerIds"])
        if "Hostname" in changed:
            _check_hostname(tables, instance["StackId"], request["Hostname"])
        instance.update(request)
    return {}


def start_instance(region: str, request: dict) -> dict:
    with store.change() as tables:
        instance = find(tables, region, "instances", request["InstanceId"])
        if instance["Status"] not in boot.STARTABLE:
            raise validation(
                f"Instance {instance['InstanceId']} is {instance['Status']}; only a stopped instance can be started"
            )
        boot.request_start(instance)
    boot.go(instance["InstanceId"])
    return {}


def stop_instance(region: str, request: dict) -> dict:
    """Stopping what is stopped, or already stopping, changes nothing."""
    with store.change() as tables:
        instance = find(tables, region, "instances", request["InstanceId"])
        if instance["Status"] in boot.STOPPED or instance["Status"] in boot.STOPPING:
            return {}
        boot.request_stop(instance)
    boot.go(instance["InstanceId"])
    return {}


def reboot_instance(region: str, request: dict) -> dict:
    with store.change() as tables:
        instance = find(tables, region, "instances", request["InstanceId"])
        if instance["Status"] not in ("online", "connection_lost", "setup_failed"):
            raise validation(f"Instance {instance['InstanceId']} is {instance['Status']}; it cannot be rebooted")
        boot.request_reboot(instance)
    boot.go(instance["InstanceId"])
    return {}


def delete_instance(region: str, request: dict) -> dict:
    """ "You must stop an instance before you can delete it." (API reference of DeleteInstance)"""
    with store.change() as tables:
        instance = find(tables, region, "instances", request["InstanceId"])
        if instance["Status"] not in boot.DELETABLE:
            raise validation(
                f"Cannot delete instance {instance['InstanceId']} that is {instance['Status']}: "
                "please stop the instance first"
            )
        boot.forget(instance, delete_volumes=request.get("DeleteVolumes", True))
    return {}


def start_stack(region: str, request: dict) -> dict:
    return _all(region, request, boot.STARTABLE, boot.request_start)


def stop_stack(region: str, request: dict) -> dict:
    running = {"online", "connection_lost", "setup_failed", *boot.STARTING}
    return _all(region, request, running, boot.request_stop)


def _all(region: str, request: dict, statuses, change) -> dict:
    with store.change() as tables:
        owner = stack(tables, region, request["StackId"])
        chosen = [i for i in of_stack(tables, "instances", owner["StackId"]) if i["Status"] in statuses]
        for instance in chosen:
            change(instance)
    for instance in chosen:
        boot.go(instance["InstanceId"])
    return {}


def get_hostname_suggestion(region: str, request: dict) -> dict:
    with reading(region) as tables:
        layer = find(tables, region, "layers", request["LayerId"])
        return {"LayerId": layer["LayerId"], "Hostname": suggestion(tables, layer)}


def suggestion(tables: dict, layer: dict) -> str:
    """The Layer_Dependent theme: the layer's short name and the first number that is free in the stack."""
    taken = {i["Hostname"].lower() for i in of_stack(tables, "instances", layer["StackId"])}
    prefix = re.sub(r"[^a-z0-9-]", "-", layer["Shortname"])
    number = 1
    while f"{prefix}{number}" in taken:
        number += 1
    return f"{prefix}{number}"


def describe_service_errors(region: str, request: dict) -> dict:
    with reading(region) as tables:
        errors = tables["service_errors"].values()
        if request.get("ServiceErrorIds"):
            for error_id in request["ServiceErrorIds"]:
                if error_id not in tables["service_errors"]:
                    raise not_found("service error", error_id)
            found = [e for e in errors if e["ServiceErrorId"] in request["ServiceErrorIds"]]
        elif request.get("InstanceId"):
            find(tables, region, "instances", request["InstanceId"])
            found = [e for e in errors if e.get("InstanceId") == request["InstanceId"]]
        elif request.get("StackId"):
            stack(tables, region, request["StackId"])
            found = [e for e in errors if e["StackId"] == request["StackId"]]
        else:
            raise validation("Please provide a stack ID, an instance ID or one or more service error IDs")
        return {"ServiceErrors": [dict(e) for e in found]}


def _layers(tables: dict, region: str, stack_id: str, layer_ids: list[str]) -> list[dict]:
    if not layer_ids:
        raise validation("Please provide at least one layer ID")
    layers = find_all(tables, region, "layers", layer_ids)
    if any(layer["StackId"] != stack_id for layer in layers):
        raise validation("Please only provide layer IDs from the same stack")
    return layers


def _check_hostname(tables: dict, stack_id: str, hostname: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", hostname):
        raise validation(f'Hostname "{hostname}" is not a valid hostname')
    if any(i["Hostname"].lower() == hostname.lower() for i in of_stack(tables, "instances", stack_id)):
        raise validation(f'There is already an instance with the hostname "{hostname}" in this stack')


OPERATIONS = {
    "CreateInstance": create_instance,
    "DescribeInstances": describe_instances,
    "UpdateInstance": update_instance,
    "StartInstance": start_instance,
    "StopInstance": stop_instance,
    "RebootInstance": reboot_instance,
    "DeleteInstance": delete_instance,
    "StartStack": start_stack,
    "StopStack": stop_stack,
    "GetHostnameSuggestion": get_hostname_suggestion,
    "DescribeServiceErrors": describe_service_errors,
}
