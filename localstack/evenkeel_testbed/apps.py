"""Apps. Secure variables and repository credentials never read back (API reference of App)."""

import re

from . import testbed
from .errors import validation
from .resources import FILTERED, exactly_one, find, find_all, masked, of_stack, reading, stack
from .testbed import store

ENVIRONMENT_LIMIT = 20 * 1024


def create_app(region: str, request: dict) -> dict:
    _check(request)
    app_id = testbed.new_id()
    short = request.get("Shortname") or re.sub(r"[^a-z0-9]+", "_", request["Name"].lower()).strip("_")
    with store.change() as tables:
        owner = stack(tables, region, request["StackId"])
        if any(app["Shortname"] == short for app in of_stack(tables, "apps", owner["StackId"])):
            raise validation(f'There is already an app with shortname "{short}"')
        tables["apps"][app_id] = {
            "AppSource": {},
            "Attributes": {},
            "DataSources": [],
            "Domains": [],
            "EnableSsl": False,
            "Environment": [],
            **request,
            "Shortname": short,
            "AppId": app_id,
            "CreatedAt": testbed.now(),
        }
    return {"AppId": app_id}


def describe_apps(region: str, request: dict) -> dict:
    by = exactly_one(request, ("StackId", "AppIds"), "Please provide one or more app IDs or a stack ID")
    with reading(region) as tables:
        if by == "StackId":
            found = of_stack(tables, "apps", stack(tables, region, request["StackId"])["StackId"])
        else:
            found = find_all(tables, region, "apps", request["AppIds"])
        return {"Apps": [_shown(app) for app in found]}


def update_app(region: str, request: dict) -> dict:
    _check(request)
    with store.change() as tables:
        find(tables, region, "apps", request["AppId"]).update(request)
    return {}


def delete_app(region: str, request: dict) -> dict:
    with store.change() as tables:
        del tables["apps"][find(tables, region, "apps", request["AppId"])["AppId"]]
    return {}


def _shown(app: dict) -> dict:
    environment = [
        {"Secure": False, **variable, **({"Value": FILTERED} if variable.get("Secure") else {})}
        for variable in app["Environment"]
    ]
    shown = {**app, "Environment": environment, "AppSource": masked(app["AppSource"])}
    if app.get("SslConfiguration"):
        shown["SslConfiguration"] = {**app["SslConfiguration"], "PrivateKey": FILTERED}
    return shown


def _check(request: dict) -> None:
    """ "an app's environment variables cannot exceed 20 KB" (API reference of CreateApp)."""
    size = 0
    for variable in request.get("Environment") or []:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", variable["Key"]):
            raise validation(
                f"Environment variable key '{variable['Key']}' can have at most 64 characters: letters, "
                "digits and underscores, and it must not start with a digit"
            )
        size += len(variable["Key"]) + len(variable["Value"])
    if size > ENVIRONMENT_LIMIT:
        raise validation("Environment: is too large (maximum is 20KB)")


OPERATIONS = {
    "CreateApp": create_app,
    "DescribeApps": describe_apps,
    "UpdateApp": update_app,
    "DeleteApp": delete_app,
}
