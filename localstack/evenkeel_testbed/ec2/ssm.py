"""SSM parameters: those that a controller and its instances use, and the public ones that name AMIs."""

import base64
import hashlib
import re

from localstack.aws.api import CommonServiceException

from .. import testbed
from . import world
from .world import Where, changing, mine, reading

LIMITS = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}
NAME = re.compile(r"[a-zA-Z0-9_.\-/]{1,1011}")


def put_parameter(where: Where, request: dict) -> dict:
    name, value, tier = request["Name"], request["Value"], request.get("Tier") or "Standard"
    _check_name(name)
    if len(value.encode()) > LIMITS[tier]:
        raise error(
            "ValidationException",
            f"{tier} tier parameters support a maximum parameter value of {LIMITS[tier]} characters.",
        )
    if request.get("Tags") and request.get("Overwrite"):
        raise error(
            "ValidationException",
            "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove "
            "overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or "
            "RemoveTagsFromResource.",
        )
    with changing(where) as tables:
        current = tables["ssm_parameters"].get(_key(where, name))
        if current and not request.get("Overwrite"):
            raise error(
                "ParameterAlreadyExists",
                "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.",
            )
        kind = request.get("Type") or (current and current["Type"])
        if not kind:
            raise error("ValidationException", "A parameter type is required when you create a parameter.")
        if kind not in ("String", "StringList", "SecureString"):
            raise error("UnsupportedParameterType", f"The parameter type {kind} is not supported.")
        parameter = world.record(
            where,
            Name=name,
            Type=kind,
            Value=value,
            Version=current["Version"] + 1 if current else 1,
            Tier="Standard" if tier == "Intelligent-Tiering" and len(value) <= LIMITS["Standard"] else tier,
            DataType=request.get("DataType") or "text",
            Description=request.get("Description") or (current or {}).get("Description"),
            KeyId=(request.get("KeyId") or "alias/aws/ssm") if kind == "SecureString" else None,
            LastModifiedDate=testbed.now(),
            Tags=current["Tags"] if current else {tag["Key"]: tag["Value"] for tag in request.get("Tags") or []},
        )
        tables["ssm_parameters"][_key(where, name)] = parameter
    return {"Version": parameter["Version"], "Tier": parameter["Tier"]}


def get_parameter(where: Where, request: dict) -> dict:
    with reading(where, "ssm") as tables:
        parameter = _find(tables, where, request["Name"])
        if parameter is None:
            raise error("ParameterNotFound", f"Parameter {request['Name']} not found.")
        return {"Parameter": _shown(parameter, bool(request.get("WithDecryption")))}


def get_parameters(where: Where, request: dict) -> dict:
    names = request["Names"]
    if len(names) > 10:
        raise error("ValidationException", f"1 validation error detected: Value '{names}' at 'names' failed to satisfy "
                    "constraint: Member must have length less than or equal to 10")  # fmt: skip
    with reading(where, "ssm") as tables:
        found = {name: _find(tables, where, name) for name in names}
        return {
            "Parameters": [_shown(p, bool(request.get("WithDecryption"))) for p in found.values() if p],
            "InvalidParameters": [name for name, parameter in found.items() if parameter is None],
        }


def get_parameters_by_path(where: Where, request: dict) -> dict:
    prefix = request["Path"].rstrip("/") + "/"
    with reading(where, "ssm") as tables:
        found = [p for p in mine(tables, "ssm_parameters", where) if p["Name"].startswith(prefix)]
        if not request.get("Recursive"):
            found = [p for p in found if "/" not in p["Name"].removeprefix(prefix)]
        found, more = _page(found, request)
        return {"Parameters": [_shown(p, bool(request.get("WithDecryption"))) for p in found], **more}


def describe_parameters(where: Where, request: dict) -> dict:
    """Metadata only, no value. Filters: Name (Equals, BeginsWith, Contains), Type, tag:KEY; public ones are not listed."""
    with reading(where, "ssm") as tables:
        found = [p for p in mine(tables, "ssm_parameters", where) if not p["Name"].startswith("/aws/")]
        for wanted in request.get("ParameterFilters") or []:
            found = [p for p in found if _fits(p, wanted)]
        found, more = _page(found, request)
        members = ("Name", "Type", "KeyId", "LastModifiedDate", "Description", "Version", "Tier", "DataType")
        shown = [{**{m: p.get(m) for m in members}, "ARN": _arn(p), "Policies": []} for p in found]
        return {"Parameters": shown, **more}


def delete_parameter(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        if tables["ssm_parameters"].pop(_key(where, request["Name"]), None) is None:
            raise error("ParameterNotFound", f"Parameter {request['Name']} not found.")
    return {}


def delete_parameters(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        gone = [name for name in request["Names"] if tables["ssm_parameters"].pop(_key(where, name), None)]
    return {"DeletedParameters": gone, "InvalidParameters": [name for name in request["Names"] if name not in gone]}


def add_tags(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        _tagged(tables, where, request)["Tags"].update({tag["Key"]: tag["Value"] for tag in request["Tags"]})
    return {}


def remove_tags(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        parameter = _tagged(tables, where, request)
        for key in request["TagKeys"]:
            parameter["Tags"].pop(key, None)
    return {}


def list_tags(where: Where, request: dict) -> dict:
    with reading(where, "ssm") as tables:
        tags = _tagged(tables, where, request)["Tags"]
        return {"TagList": [{"Key": key, "Value": value} for key, value in sorted(tags.items())]}


def value_of(tables: dict, where: Where, name: str) -> str | None:
    """For RunInstances' `resolve:ssm:`."""
    parameter = _find(tables, where, name)
    return parameter and parameter["Value"]


def error(code: str, message: str) -> CommonServiceException:
    return CommonServiceException(code, message, 400, sender_fault=True)


def _key(where: Where, name: str) -> str:
    """By its full name; an ARN names it too."""
    name = name.partition(":parameter")[2] if name.startswith("arn:") else name
    return f"{where.account}/{where.region}{name if name.startswith('/') else '/' + name}"


def _find(tables: dict, where: Where, name: str) -> dict | None:
    """`NAME`, or `NAME:VERSION` of the version that is the present one."""
    base, _, version = name.partition(":") if not name.startswith("arn:") else (name, "", "")
    parameter = tables["ssm_parameters"].get(_key(where, base))
    if parameter and version and version != str(parameter["Version"]):
        return None
    return parameter


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name.count("/") > 15 or re.match(r"/?(aws|ssm)", name, re.I):
        raise error(
            "ValidationException",
            f"Parameter name {name}: can't be prefixed with \"ssm\" or \"aws\" (case-insensitive), and uses letters, "
            "digits and the symbols .-_ in at most 15 levels, each beginning with /.",
        )


def _tagged(tables: dict, where: Where, request: dict) -> dict:
    parameter = request["ResourceType"] == "Parameter" and _find(tables, where, request["ResourceId"])
    if not parameter:
        raise error("InvalidResourceId", f"The resource ID {request['ResourceId']} is not valid")
    return parameter


def _page(found: list[dict], request: dict) -> tuple:
    found = sorted(found, key=lambda p: p["Name"])
    if request.get("NextToken"):
        found = [p for p in found if p["Name"] > request["NextToken"]]
    size = request.get("MaxResults") or 10
    return found[:size], {"NextToken": found[size - 1]["Name"]} if len(found) > size else {}


def _fits(parameter: dict, wanted: dict) -> bool:
    key, values = wanted["Key"], wanted.get("Values") or []
    value = parameter["Tags"].get(key[4:]) if key.startswith("tag:") else parameter.get(key)
    if value is None or not values:
        return value is not None
    option = wanted.get("Option") or "Equals"
    tests = {"Equals": str.__eq__, "BeginsWith": str.startswith, "Contains": str.__contains__}
    if option not in tests:
        raise error("InvalidFilterOption", f"The filter option {option} is not valid")
    return any(tests[option](value, one) for one in values)


def _arn(parameter: dict) -> str:
    name = parameter["Name"]
    slash = "" if name.startswith("/") else "/"
    return f"arn:aws:ssm:{parameter['_region']}:{parameter['_account']}:parameter{slash}{name}"


def _shown(parameter: dict, decrypted: bool) -> dict:
    value = parameter["Value"]
    if parameter["Type"] == "SecureString" and not decrypted:
        # What is not decrypted tells nothing but that it is there.
        value = base64.b64encode(b"AQICAHi" + hashlib.sha512(value.encode()).digest()).decode()
    return {**parameter, "Value": value, "ARN": _arn(parameter)}


OPERATIONS = {
    "PutParameter": put_parameter,
    "GetParameter": get_parameter,
    "GetParameters": get_parameters,
    "GetParametersByPath": get_parameters_by_path,
    "DescribeParameters": describe_parameters,
    "DeleteParameter": delete_parameter,
    "DeleteParameters": delete_parameters,
    "AddTagsToResource": add_tags,
    "RemoveTagsFromResource": remove_tags,
    "ListTagsForResource": list_tags,
}
