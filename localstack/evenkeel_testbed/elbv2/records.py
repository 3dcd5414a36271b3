"""Load balancers, target groups, listeners and rules as the tables hold them, all by ARN, and how they are found."""

import re
import secrets
from datetime import datetime, timezone

from .. import account
from ..errors import elb_error

BALANCERS, GROUPS, LISTENERS, RULES = "v2_balancers", "v2_groups", "v2_listeners", "v2_rules"
KINDS = {"application": "app", "network": "net"}
ALB_PROTOCOLS, NLB_PROTOCOLS = ("HTTP", "HTTPS"), ("TCP", "TLS")


def new_id() -> str:
    """The sixteen hexadecimal digits at the end of an ARN."""
    return secrets.token_hex(8)


def arn(region: str, resource: str) -> str:
    return f"arn:aws:elasticloadbalancing:{region}:{account.current()}:{resource}"


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


def invalid(message: str):
    return elb_error("ValidationError", message)


def check_name(name: str, what: str) -> None:
    """ "a maximum of 32 characters, must contain only alphanumeric characters or hyphens, and must not begin or end
    with a hyphen" """
    if len(name) > 32:
        raise invalid(f"{what} name '{name}' cannot be longer than '32' characters")
    if not re.fullmatch(r"[A-Za-z0-9-]+", name):
        raise invalid(f"{what} name '{name}' can only contain characters that are alphanumeric characters and hyphens(-)")
    if name.startswith("-") or name.endswith("-"):
        raise invalid(f"{what} name '{name}' cannot begin or end with '-'")


def of_here(tables: dict, table: str, region: str) -> list[dict]:
    """The records of the request's account in the region, oldest first."""
    here = (region, account.current())
    return [record for record in tables[table].values() if (record["Region"], record["Account"]) == here]


def balancer(tables: dict, region: str, wanted: str) -> dict:
    return _one(tables, BALANCERS, region, wanted, "LoadBalancerNotFound", f"Load balancer '{wanted}' not found")


def group(tables: dict, region: str, wanted: str) -> dict:
    return _one(tables, GROUPS, region, wanted, "TargetGroupNotFound", f"Target group '{wanted}' not found")


def listener(tables: dict, region: str, wanted: str) -> dict:
    return _one(tables, LISTENERS, region, wanted, "ListenerNotFound", f"Listener '{wanted}' not found")


def rule(tables: dict, region: str, wanted: str) -> dict:
    return _one(tables, RULES, region, wanted, "RuleNotFound", f"Rule '{wanted}' not found")


def _one(tables: dict, table: str, region: str, wanted: str, code: str, message: str) -> dict:
    record = tables[table].get(wanted)
    if record is None or (record["Region"], record["Account"]) != (region, account.current()):
        if not wanted.startswith("arn:"):
            raise invalid(f"'{wanted}' is not a valid ARN")
        raise elb_error(code, message)
    return record


def named(found: list[dict], names: list[str], code: str, what: str) -> list[dict]:
    """Those of the names, each of which there must be."""
    missing = [name for name in names if name not in {record["Name"] for record in found}]
    if missing:
        raise elb_error(code, f"{what} '[{', '.join(missing)}]' not found")
    return [record for record in found if record["Name"] in names]


def page(found: list[dict], request: dict, key: str = "Arn") -> tuple[list[dict], dict]:
    """A page of PageSize (1 to 400) after Marker, and the answer's NextMarker if more is to come."""
    size = request.get("PageSize") or 400
    if not 1 <= size <= 400:
        raise invalid(f"Page size '{size}' must be between 1 and 400")
    marker = request.get("Marker")
    start = 0
    if marker:
        start = next((at for at, record in enumerate(found, 1) if str(record[key]) == marker), None)
        if start is None:
            raise invalid(f"Marker '{marker}' is not valid")
    shown = found[start : start + size]
    more = start + size < len(found)
    return shown, {"NextMarker": str(shown[-1][key])} if more else {}


def of_balancer(tables: dict, table: str, balancer_arn: str) -> list[dict]:
    """Its listeners, or the rules of its listeners."""
    return [record for record in tables[table].values() if record["LoadBalancerArn"] == balancer_arn]


def forwarded(actions: list[dict]) -> list[str]:
    return [action["TargetGroupArn"] for action in actions if action["Type"] == "forward"]


def users(tables: dict) -> dict[str, str]:
    """For each target group that some listener or rule forwards to, the ARN of its load balancer."""
    found = {}
    for table, actions in ((LISTENERS, "DefaultActions"), (RULES, "Actions")):
        for record in tables[table].values():
            for group_arn in forwarded(record[actions]):
                found[group_arn] = record["LoadBalancerArn"]
    return found


def kind_of_group(record: dict) -> str:
    return "application" if record["Protocol"] in ALB_PROTOCOLS else "network"


def tags(request: dict) -> dict[str, str]:
    given = request.get("Tags") or []
    keys = [tag["Key"] for tag in given]
    doubled = sorted({key for key in keys if keys.count(key) > 1})
    if doubled:
        raise elb_error("DuplicateTagKeys", f"Tag keys were specified more than once: {', '.join(doubled)}")
    if len(given) > 50:
        raise elb_error("TooManyTags", "A resource can have at most 50 tags")
    return {tag["Key"]: tag.get("Value", "") for tag in given}


def attributes(record: dict, request: dict, checks: dict) -> dict:
    """The answer of a Modify…Attributes call: checks every key and value before it stores any."""
    given = {}
    for attribute in request["Attributes"]:
        key, value = attribute["Key"], attribute.get("Value", "")
        if key not in record["Attributes"]:
            raise invalid(f"The attribute key '{key}' is not recognized for '{record['Arn']}'")
        check = checks.get(key)
        if check and not check(value):
            raise invalid(f"The value '{value}' of the attribute '{key}' is not valid")
        given[key] = value
    record["Attributes"].update(given)
    return shown_attributes(record)


def shown_attributes(record: dict) -> dict:
    return {"Attributes": [{"Key": key, "Value": value} for key, value in record["Attributes"].items()]}


def boolean(value: str) -> bool:
    return value in ("true", "false")


def between(low: int, high: int):
    return lambda value: value.isdigit() and low <= int(value) <= high


def one_of(*values: str):
    return lambda value: value in values
