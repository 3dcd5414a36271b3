"""Stacks. Defaults are those of CreateStack in the OpsWorks API reference."""

import json

from . import testbed
from .errors import validation
from .resources import masked, of_stack, reading, stack
from .testbed import store


def create_stack(region: str, request: dict) -> dict:
    check_json(request.get("CustomJson"))
    if not request["Name"].strip():
        raise validation("Please provide a name for the stack")
    stack_id = testbed.new_id()
    where = request["Region"]
    record = {
        "Attributes": {"Color": "rgb(45, 114, 184)"},
        "DefaultOs": "Amazon Linux 2",
        "HostnameTheme": "Layer_Dependent",
        "DefaultAvailabilityZone": f"{where}a",
        "ConfigurationManager": {"Name": "Chef", "Version": "12"},
        "ChefConfiguration": {},
        "UseCustomCookbooks": False,
        "UseOpsworksSecurityGroups": True,
        "CustomCookbooksSource": {},
        "DefaultRootDeviceType": "instance-store",
        "AgentVersion": "LATEST",
        **request,
        "StackId": stack_id,
        "Arn": testbed.arn(where, "stack", stack_id),
        "CreatedAt": testbed.now(),
        "_endpoint": region,
    }
    with store.change() as tables:
        tables["stacks"][stack_id] = record
    return {"StackId": stack_id}


def describe_stacks(region: str, request: dict) -> dict:
    with reading(region) as tables:
        if request.get("StackIds"):
            found = [stack(tables, region, stack_id) for stack_id in request["StackIds"]]
        else:
            found = [s for s in tables["stacks"].values() if region in (s["Region"], s["_endpoint"])]
        return {
            "Stacks": [{**s, "CustomCookbooksSource": masked(s["CustomCookbooksSource"])} for s in found]
        }


def update_stack(region: str, request: dict) -> dict:
    check_json(request.get("CustomJson"))
    with store.change() as tables:
        stack(tables, region, request["StackId"]).update(request)
    return {}


def delete_stack(region: str, request: dict) -> dict:
    """ "You must first delete all instances, layers, and apps or deregister registered instances." """
    with store.change() as tables:
        stack_id = stack(tables, region, request["StackId"])["StackId"]
        for table in ("instances", "layers", "apps"):
            left = of_stack(tables, table, stack_id)
            if left:
                raise validation(
                    f"Cannot delete stack {stack_id}: please delete its {len(left)} {table} first"
                )
        del tables["stacks"][stack_id]
        forget(tables, stack_id)
    return {}


def forget(tables: dict, stack_id: str) -> None:
    """What only makes sense while its stack is there."""
    for table in ("deployments", "commands", "service_errors", "rds", "attachments", "volumes"):
        for key in [k for k, record in tables[table].items() if record.get("StackId") == stack_id]:
            del tables[table][key]
    for arn in [arn for arn in tables["tags"] if stack_id in arn]:
        del tables["tags"][arn]


SUMMARY_WORDS = {
    "assigning": "Assigning", "booting": "Booting", "connection_lost": "ConnectionLost",
    "deregistering": "Deregistering", "online": "Online", "pending": "Pending", "rebooting": "Rebooting",
    "registered": "Registered", "registering": "Registering", "requested": "Requested",
    "running_setup": "RunningSetup", "setup_failed": "SetupFailed", "shutting_down": "ShuttingDown",
    "start_failed": "StartFailed", "stop_failed": "StopFailed", "stopped": "Stopped", "stopping": "Stopping",
    "terminated": "Terminated", "terminating": "Terminating", "unassigning": "Unassigning",
}  # fmt: skip


def describe_stack_summary(region: str, request: dict) -> dict:
    with reading(region) as tables:
        found = stack(tables, region, request["StackId"])
        counts = dict.fromkeys(SUMMARY_WORDS.values(), 0)
        for instance in of_stack(tables, "instances", found["StackId"]):
            counts[SUMMARY_WORDS[instance["Status"]]] += 1
        return {
            "StackSummary": {
                "StackId": found["StackId"],
                "Name": found["Name"],
                "Arn": found["Arn"],
                "LayersCount": len(of_stack(tables, "layers", found["StackId"])),
                "AppsCount": len(of_stack(tables, "apps", found["StackId"])),
                "InstancesCount": counts,
            }
        }


def check_json(text: str | None) -> None:
    if not text:
        return
    try:
        fine = isinstance(json.loads(text), dict)
    except ValueError:
        fine = False
    if not fine:
        raise validation("Please provide valid custom JSON: it must be a JSON object")


OPERATIONS = {
    "CreateStack": create_stack,
    "DescribeStacks": describe_stacks,
    "UpdateStack": update_stack,
    "DeleteStack": delete_stack,
    "DescribeStackSummary": describe_stack_summary,
}
