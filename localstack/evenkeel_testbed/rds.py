"""RDS instances registered with a stack; they are databases.py's. The password reads back as `*****FILTERED*****` (API reference)."""

import re

from . import databases
from .errors import not_found, validation
from .resources import FILTERED, reading, stack
from .testbed import store

ARN = re.compile(r"arn:aws[\w-]*:rds:([a-z0-9-]+):\d*:db:([A-Za-z][A-Za-z0-9-]*)")


def register(region: str, request: dict) -> dict:
    match = ARN.fullmatch(request["RdsDbInstanceArn"])
    if match is None:
        raise validation(f"{request['RdsDbInstanceArn']} is not the ARN of an RDS DB instance")
    where, identifier = match.groups()
    with store.change() as tables:
        owner = stack(tables, region, request["StackId"])
        key = request["RdsDbInstanceArn"]
        if key in tables["rds"]:
            raise validation(f"RDS DB instance {key} is already registered with stack {tables['rds'][key]['StackId']}")
        # "AWS OpsWorks Stacks attempts to discover the instance only once" (MissingOnRds, API reference of RdsDbInstance).
        found = databases.of_arn(tables, key)
        endpoint = databases.shown(found).get("Endpoint", {}) if found else {}
        tables["rds"][key] = {
            **request,
            "StackId": owner["StackId"],
            "DbInstanceIdentifier": identifier,
            "Region": where,
            "Address": endpoint.get("Address"),
            "Engine": found and found["Engine"],
            "MissingOnRds": found is None,
        }
    return {}


def describe(region: str, request: dict) -> dict:
    with reading(region) as tables:
        owner = stack(tables, region, request["StackId"])
        found = [r for r in tables["rds"].values() if r["StackId"] == owner["StackId"]]
        for arn in request.get("RdsDbInstanceArns") or []:
            if not any(r["RdsDbInstanceArn"] == arn for r in found):
                raise not_found("RDS DB instance", arn)
        if request.get("RdsDbInstanceArns"):
            found = [r for r in found if r["RdsDbInstanceArn"] in request["RdsDbInstanceArns"]]
        return {"RdsDbInstances": [{**r, "DbPassword": FILTERED} for r in found]}


def update(region: str, request: dict) -> dict:
    with store.change() as tables:
        _registered(tables, region, request["RdsDbInstanceArn"]).update(request)
    return {}


def deregister(region: str, request: dict) -> dict:
    with store.change() as tables:
        _registered(tables, region, request["RdsDbInstanceArn"])
        del tables["rds"][request["RdsDbInstanceArn"]]
    return {}


def _registered(tables: dict, region: str, arn: str) -> dict:
    found = tables["rds"].get(arn)
    if found is None:
        raise not_found("RDS DB instance", arn)
    stack(tables, region, found["StackId"])
    return found


OPERATIONS = {
    "RegisterRdsDbInstance": register,
    "DescribeRdsDbInstances": describe,
    "UpdateRdsDbInstance": update,
    "DeregisterRdsDbInstance": deregister,
}
