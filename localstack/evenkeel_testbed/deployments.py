"""Deployments and their commands: recorded, running for a moment, then successful. Nothing runs Chef here."""

import threading
import time

from . import testbed
from .errors import not_found, validation
from .resources import exactly_one, find, of_stack, reading, stack
from .testbed import setting, store

NEEDS_APP = ("deploy", "rollback", "start", "stop", "restart", "undeploy")


def create_deployment(region: str, request: dict) -> dict:
    deployment_id = testbed.new_id()
    name = request["Command"]["Name"]
    with store.change() as tables:
        owner = stack(tables, region, request["StackId"])
        if name in NEEDS_APP and not request.get("AppId"):
            raise validation(f"Please provide an app ID for the command '{name}'")
        if request.get("AppId"):
            find(tables, region, "apps", request["AppId"])
        if name == "execute_recipes" and not (request["Command"].get("Args") or {}).get("recipes"):
            raise validation("Please provide one or more recipes for the command 'execute_recipes'")
        targets = _targets(tables, region, owner["StackId"], request)
        if not targets:
            raise validation("Please provide at least an instance ID of one running instance")
        tables["deployments"][deployment_id] = {
            **{k: v for k, v in request.items() if k not in ("LayerIds", "InstanceIds")},
            "DeploymentId": deployment_id,
            "InstanceIds": targets,
            "IamUserArn": f"arn:aws:iam::{testbed.ACCOUNT}:root",
            "CreatedAt": testbed.now(),
            "Status": "running",
            "_began": time.time(),
        }
        for instance_id in targets:
            command_id = testbed.new_id()
            tables["commands"][command_id] = {
                "CommandId": command_id,
                "InstanceId": instance_id,
                "DeploymentId": deployment_id,
                "StackId": owner["StackId"],
                "CreatedAt": testbed.now(),
                "AcknowledgedAt": testbed.now(),
                "Status": "pending",
                "Type": name,
            }
    timer = threading.Timer(setting("state_delay"), _finish, (deployment_id,))
    timer.daemon = True
    timer.start()
    return {"DeploymentId": deployment_id}


def describe_deployments(region: str, request: dict) -> dict:
    by = exactly_one(
        request,
        ("StackId", "AppId", "DeploymentIds"),
        "Please provide either one or more deployment IDs or one stack ID or one app ID",
    )
    with reading(region) as tables:
        if by == "DeploymentIds":
            found = [find(tables, region, "deployments", i) for i in request["DeploymentIds"]]
        elif by == "AppId":
            app = find(tables, region, "apps", request["AppId"])
            found = [d for d in tables["deployments"].values() if d.get("AppId") == app["AppId"]]
        else:
            found = of_stack(tables, "deployments", stack(tables, region, request["StackId"])["StackId"])
        return {"Deployments": [dict(d) for d in reversed(found)]}


def describe_commands(region: str, request: dict) -> dict:
    by = exactly_one(
        request,
        ("DeploymentId", "InstanceId", "CommandIds"),
        "Please provide either one or more command IDs or one deployment ID or one instance ID",
    )
    with reading(region) as tables:
        commands = tables["commands"]
        if by == "CommandIds":
            for command_id in request["CommandIds"]:
                if command_id not in commands:
                    raise not_found("command", command_id)
            found = [commands[command_id] for command_id in request["CommandIds"]]
        else:
            find(tables, region, "deployments" if by == "DeploymentId" else "instances", request[by])
            found = [c for c in commands.values() if c.get(by) == request[by]]
        return {"Commands": [dict(c) for c in found]}


def resume() -> None:
    """A deployment that was running when LocalStack went away is done by now."""
    with store.read() as tables:
        running = [d["DeploymentId"] for d in tables["deployments"].values() if d["Status"] == "running"]
    for deployment_id in running:
        _finish(deployment_id)


def _targets(tables: dict, region: str, stack_id: str, request: dict) -> list[str]:
    online = [i for i in of_stack(tables, "instances", stack_id) if i["Status"] == "online"]
    if request.get("InstanceIds"):
        for instance_id in request["InstanceIds"]:
            find(tables, region, "instances", instance_id)
        return [i["InstanceId"] for i in online if i["InstanceId"] in request["InstanceIds"]]
    if request.get("LayerIds"):
        for layer_id in request["LayerIds"]:
            find(tables, region, "layers", layer_id)
        return [i["InstanceId"] for i in online if set(i["LayerIds"]) & set(request["LayerIds"])]
    return [i["InstanceId"] for i in online]


def _finish(deployment_id: str) -> None:
    with store.change() as tables:
        deployment = tables["deployments"].get(deployment_id)
        if deployment is None:
            return
        deployment.update(
            Status="successful",
            CompletedAt=testbed.now(),
            Duration=round(time.time() - deployment["_began"]),
        )
        for command in tables["commands"].values():
            if command.get("DeploymentId") == deployment_id:
                command.update(Status="successful", ExitCode=0, CompletedAt=testbed.now())


OPERATIONS = {
    "CreateDeployment": create_deployment,
    "DescribeDeployments": describe_deployments,
    "DescribeCommands": describe_commands,
}
