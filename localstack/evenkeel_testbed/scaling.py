"""Load-based and time-based scaling: what was set reads back. Nothing here measures load or starts instances."""

from .errors import validation
from .resources import find, find_all, reading
from .testbed import store

# Defaults of the console and the API reference of AutoScalingThresholds; -1 switches a metric off.
UP = {
    "InstanceCount": 1, "ThresholdsWaitTime": 5, "IgnoreMetricsTime": 5,
    "CpuThreshold": 80.0, "MemoryThreshold": -1.0, "LoadThreshold": -1.0,
}  # fmt: skip
DOWN = {
    "InstanceCount": 1, "ThresholdsWaitTime": 10, "IgnoreMetricsTime": 10,
    "CpuThreshold": 30.0, "MemoryThreshold": -1.0, "LoadThreshold": -1.0,
}  # fmt: skip


def set_load_based(region: str, request: dict) -> dict:
    for direction in ("UpScaling", "DownScaling"):
        thresholds = request.get(direction) or {}
        for name in ("ThresholdsWaitTime", "IgnoreMetricsTime"):
            if not 1 <= thresholds.get(name, 1) <= 100:
                raise validation(f"{direction} {name} must be between 1 and 100 minutes")
        if not thresholds.get("InstanceCount", 1) >= 1:
            raise validation(f"{direction} InstanceCount must be at least 1")
    with store.change() as tables:
        layer = find(tables, region, "layers", request["LayerId"])
        current = tables["load_scaling"].get(layer["LayerId"]) or _default(layer["LayerId"])
        tables["load_scaling"][layer["LayerId"]] = {
            "LayerId": layer["LayerId"],
            "Enable": request.get("Enable", current["Enable"]),
            "UpScaling": {**current["UpScaling"], **(request.get("UpScaling") or {})},
            "DownScaling": {**current["DownScaling"], **(request.get("DownScaling") or {})},
        }
    return {}


def describe_load_based(region: str, request: dict) -> dict:
    with reading(region) as tables:
        layers = find_all(tables, region, "layers", request["LayerIds"])
        return {
            "LoadBasedAutoScalingConfigurations": [
                tables["load_scaling"].get(layer["LayerId"]) or _default(layer["LayerId"]) for layer in layers
            ]
        }


def set_time_based(region: str, request: dict) -> dict:
    for day, hours in (request.get("AutoScalingSchedule") or {}).items():
        for hour, switch in (hours or {}).items():
            if not (hour.isdigit() and 0 <= int(hour) <= 23) or switch not in ("on", "off"):
                raise validation(f"{day}: hours are 0 to 23 and a switch is on or off, not {hour}: {switch}")
    with store.change() as tables:
        instance = find(tables, region, "instances", request["InstanceId"])
        if instance.get("AutoScalingType") != "timer":
            raise validation(f"Instance {instance['InstanceId']} is not a time-based instance")
        tables["time_scaling"][instance["InstanceId"]] = request.get("AutoScalingSchedule") or {}
    return {}


def describe_time_based(region: str, request: dict) -> dict:
    with reading(region) as tables:
        instances = find_all(tables, region, "instances", request["InstanceIds"])
        return {
            "TimeBasedAutoScalingConfigurations": [
                {
                    "InstanceId": instance["InstanceId"],
                    "AutoScalingSchedule": tables["time_scaling"].get(instance["InstanceId"], {}),
                }
                for instance in instances
            ]
        }


def _default(layer_id: str) -> dict:
    return {"LayerId": layer_id, "Enable": False, "UpScaling": dict(UP), "DownScaling": dict(DOWN)}


OPERATIONS = {
    "SetLoadBasedAutoScaling": set_load_based,
    "DescribeLoadBasedAutoScaling": describe_load_based,
    "SetTimeBasedAutoScaling": set_time_based,
    "DescribeTimeBasedAutoScaling": describe_time_based,
}
