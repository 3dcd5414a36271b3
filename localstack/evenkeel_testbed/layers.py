"""Layers. Defaults are those of CreateLayer in the OpsWorks API reference."""

import re

from . import testbed
from .errors import validation
from .resources import exactly_one, find, find_all, of_stack, reading, stack
from .stacks import check_json
from .testbed import store

EVENTS = ("Setup", "Configure", "Deploy", "Undeploy", "Shutdown")
VOLUME_TYPES = ("standard", "io1", "gp2", "st1", "sc1")


def create_layer(region: str, request: dict) -> dict:
    _check(request)
    layer_id = testbed.new_id()
    with store.change() as tables:
        owner = stack(tables, region, request["StackId"])
        _check_names(tables, owner["StackId"], request)
        tables["layers"][layer_id] = {
            "Attributes": {},
            "CustomSecurityGroupIds": [],
            "DefaultSecurityGroupNames": ["AWS-OpsWorks-Custom-Server"],
            "Packages": [],
            "VolumeConfigurations": [],
            "EnableAutoHealing": True,
            "AutoAssignElasticIps": False,
            "AutoAssignPublicIps": True,
            "DefaultRecipes": {event: [] for event in EVENTS},
            "InstallUpdatesOnBoot": True,
            "UseEbsOptimizedInstances": False,
            "LifecycleEventConfiguration": {
                "Shutdown": {"ExecutionTimeout": 120, "DelayUntilElbConnectionsDrained": False}
            },
            **_filled(request),
            "CustomRecipes": _recipes(request.get("CustomRecipes")),
            "LayerId": layer_id,
            "Arn": testbed.arn(owner["Region"], "layer", layer_id),
            "CreatedAt": testbed.now(),
        }
    return {"LayerId": layer_id}


def describe_layers(region: str, request: dict) -> dict:
    by = exactly_one(request, ("StackId", "LayerIds"), "Please provide one or more layer IDs or a stack ID")
    with reading(region) as tables:
        if by == "StackId":
            found = of_stack(tables, "layers", stack(tables, region, request["StackId"])["StackId"])
        else:
            found = find_all(tables, region, "layers", request["LayerIds"])
        return {"Layers": [dict(layer) for layer in found]}


def update_layer(region: str, request: dict) -> dict:
    _check(request)
    with store.change() as tables:
        layer = find(tables, region, "layers", request["LayerId"])
        _check_names(tables, layer["StackId"], request, layer["LayerId"])
        layer.update(_filled(request))
        if "CustomRecipes" in request:
            layer["CustomRecipes"] = _recipes(request["CustomRecipes"])
    return {}


def delete_layer(region: str, request: dict) -> dict:
    """ "You must first stop and then delete all associated instances or unassign registered instances." """
    with store.change() as tables:
        layer = find(tables, region, "layers", request["LayerId"])
        layer_id = layer["LayerId"]
        if any(layer_id in i["LayerIds"] for i in of_stack(tables, "instances", layer["StackId"])):
            raise validation(f"Cannot delete layer {layer_id}: please delete its instances first")
        del tables["layers"][layer_id]
        tables["attachments"].pop(layer_id, None)
        tables["load_scaling"].pop(layer_id, None)
        tables["tags"].pop(layer["Arn"], None)
    return {}


def _filled(request: dict) -> dict:
    """The request with the defaults of what is nested in it."""
    filled = dict(request)
    if "VolumeConfigurations" in request:
        filled["VolumeConfigurations"] = [
            {"VolumeType": "standard", "Encrypted": False, **volume}
            for volume in request["VolumeConfigurations"]
        ]
    shutdown = (request.get("LifecycleEventConfiguration") or {}).get("Shutdown")
    if shutdown is not None:
        filled["LifecycleEventConfiguration"] = {
            "Shutdown": {"ExecutionTimeout": 120, "DelayUntilElbConnectionsDrained": False, **shutdown}
        }
    return filled


def _recipes(given: dict | None) -> dict:
    return {event: (given or {}).get(event) or [] for event in EVENTS}


def _check(request: dict) -> None:
    check_json(request.get("CustomJson"))
    short = request.get("Shortname")
    # API reference of Shortname, for custom layers.
    if short is not None and not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,199}", short):
        raise validation(
            "Layer shortname must start with a letter or a digit and can only contain lowercase letters, "
            "digits, hyphens, underscores and periods"
        )
    for volume in request.get("VolumeConfigurations") or []:
        kind = volume.get("VolumeType", "standard")
        if kind not in VOLUME_TYPES:
            raise validation(f"Volume type '{kind}' is not one of {', '.join(VOLUME_TYPES)}")
        if kind == "io1" and not volume.get("Iops"):
            raise validation("Please provide Iops for a volume of type io1")
        if not volume["MountPoint"].startswith("/"):
            raise validation(f"Mount point '{volume['MountPoint']}' must be an absolute path")
        if not 1 <= volume["Size"] <= 16384 or volume["NumberOfDisks"] < 1:
            raise validation("Volume size must be between 1 and 16384 GiB, on at least one disk")
    points = [volume["MountPoint"] for volume in request.get("VolumeConfigurations") or []]
    if len(points) != len(set(points)):
        raise validation("Each mount point can be used only once in a layer")


def _check_names(tables: dict, stack_id: str, request: dict, own_id: str | None = None) -> None:
    for layer in of_stack(tables, "layers", stack_id):
        if layer["LayerId"] == own_id:
            continue
        if layer["Name"] == request.get("Name"):
            raise validation(f'There is already a layer named "{layer["Name"]}"')
        if layer["Shortname"] == request.get("Shortname"):
            raise validation(f'There is already a layer with shortname "{layer["Shortname"]}"')


OPERATIONS = {
    "CreateLayer": create_layer,
    "DescribeLayers": describe_layers,
    "UpdateLayer": update_layer,
    "DeleteLayer": delete_layer,
}
