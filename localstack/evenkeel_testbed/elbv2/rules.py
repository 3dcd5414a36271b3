"""Rules of an application load balancer's listener, by path and host: the requests. The default rule is the listener
itself."""

import re

from .. import account, faults
from ..errors import elb_error
from ..testbed import store
from . import actions, records, registration
from .records import BALANCERS, RULES, invalid

# The characters that a pattern may have (user guide, "Rule condition types").
FIELDS = {
    "path-pattern": ("PathPatternConfig", r"""[A-Za-z0-9_.$/~"'@:+&*?-]{1,128}"""),
    "host-header": ("HostHeaderConfig", r"[A-Za-z0-9.*?-]{1,128}"),
}


def create(region: str, request: dict) -> dict:
    with store.change() as tables:
        listener = records.listener(tables, region, request["ListenerArn"])
        balancer = tables[BALANCERS][listener["LoadBalancerArn"]]
        if balancer["Type"] != "application":
            raise elb_error("UnsupportedProtocol", "Rules can only be created for listeners of application load balancers")
        priority = request["Priority"]
        if not 1 <= priority <= 50000:
            raise invalid(f"Priority '{priority}' must be between 1 and 50000")
        if any(rule["Priority"] == priority for rule in _of(tables, listener)):
            raise elb_error("PriorityInUse", f"Priority '{priority}' is currently in use")
        number = records.new_id()
        rule = {
            "Arn": f"{listener['Arn'].replace(':listener/', ':listener-rule/')}/{number}",
            "Id": number,
            "Region": region,
            "Account": account.current(),
            "LoadBalancerArn": balancer["Arn"],
            "ListenerArn": listener["Arn"],
            "Priority": priority,
            "Conditions": _conditions(request["Conditions"]),
            "Actions": actions.checked(tables, region, balancer, listener["Protocol"], request["Actions"]),
            "Tags": records.tags(request),
        }
        tables[RULES][rule["Arn"]] = rule
        registration.start(tables, balancer)
        return {"Rules": [_shown(rule)]}


def describe(region: str, request: dict) -> dict:
    with store.read(faults.lag("elbv2", region)) as tables:
        arns = request.get("RuleArns") or []
        if bool(arns) == bool(request.get("ListenerArn")):
            raise invalid("You must specify either listener rule ARNs or a listener ARN")
        if arns:
            found = [_shown(_found(tables, region, wanted)) for wanted in dict.fromkeys(arns)]
        else:
            listener = records.listener(tables, region, request["ListenerArn"])
            found = [_shown(rule) for rule in _of(tables, listener)] + [_shown(_default(listener))]
        page, more = records.page(found, request)
        return {"Rules": page, **more}


def modify(region: str, request: dict) -> dict:
    with store.change() as tables:
        rule = _found(tables, region, request["RuleArn"])
        if rule["Priority"] == "default":
            raise elb_error("OperationNotPermitted", "Default rule cannot be modified; modify its listener")
        if not request.get("Conditions") and not request.get("Actions"):
            raise invalid("Either conditions or actions must be specified")
        listener = records.listener(tables, region, rule["ListenerArn"])
        balancer = tables[BALANCERS][rule["LoadBalancerArn"]]
        changed = {}
        if request.get("Conditions"):
            changed["Conditions"] = _conditions(request["Conditions"])
        if request.get("Actions"):
            changed["Actions"] = actions.checked(tables, region, balancer, listener["Protocol"], request["Actions"])
        rule.update(changed)
        registration.start(tables, balancer)
        return {"Rules": [_shown(rule)]}


def delete(region: str, request: dict) -> dict:
    with store.change() as tables:
        rule = _found(tables, region, request["RuleArn"])
        if rule["Priority"] == "default":
            raise elb_error("OperationNotPermitted", f"Default rule '{rule['Arn']}' cannot be deleted")
        del tables[RULES][rule["Arn"]]
        registration.start(tables, tables[BALANCERS][rule["LoadBalancerArn"]])
    return {}


def _of(tables: dict, listener: dict) -> list[dict]:
    return sorted((r for r in tables[RULES].values() if r["ListenerArn"] == listener["Arn"]), key=lambda r: r["Priority"])


def _default(listener: dict) -> dict:
    return {
        "Arn": f"{listener['Arn'].replace(':listener/', ':listener-rule/')}/{listener['Id']}",
        "Priority": "default",
        "Conditions": [],
        "Actions": listener["DefaultActions"],
    }


def _found(tables: dict, region: str, wanted: str) -> dict:
    for listener in records.of_here(tables, records.LISTENERS, region):
        if _default(listener)["Arn"] == wanted:
            return _default(listener)
    return records.rule(tables, region, wanted)


def _conditions(conditions: list[dict]) -> list[dict]:
    if not conditions:
        raise invalid("A condition must be specified")
    checked = []
    for condition in conditions:
        field = condition.get("Field")
        if field not in FIELDS:
            raise invalid(f"Condition field '{field}' must be one of '{', '.join(FIELDS)}' in the proving ground")
        config, allowed = FIELDS[field]
        values = condition.get("Values") or (condition.get(config) or {}).get("Values") or []
        if not values:
            raise invalid(f"A condition value must be specified for the field '{field}'")
        for value in values:
            if not re.fullmatch(allowed, value):
                raise invalid(f"Condition value '{value}' is too long or contains a character that is not valid")
        checked.append({"Field": field, "Values": list(values), config: {"Values": list(values)}})
    if len({c["Field"] for c in checked}) != len(checked):
        raise invalid("A rule can have each condition field once")
    return checked


def _shown(rule: dict) -> dict:
    default = rule["Priority"] == "default"
    return {**rule, "RuleArn": rule["Arn"], "Priority": str(rule["Priority"]), "IsDefault": default}


OPERATIONS = {
    "CreateRule": create,
    "DescribeRules": describe,
    "ModifyRule": modify,
    "DeleteRule": delete,
}
