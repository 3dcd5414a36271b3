"""Target groups and their health checks: the requests."""

import re

from .. import account, faults
from ..errors import elb_error
from ..testbed import store
from . import records, registration
from .records import ALB_PROTOCOLS, GROUPS, NLB_PROTOCOLS, between, boolean, invalid, one_of

# The defaults of the API reference, "TargetGroupAttribute".
EVERY = {
    "deregistration_delay.timeout_seconds": "300",
    "stickiness.enabled": "false",
    "load_balancing.cross_zone.enabled": "use_load_balancer_configuration",
    "target_group_health.dns_failover.minimum_healthy_targets.count": "1",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": "off",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": "1",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
}
APPLICATION = {
    "stickiness.type": "lb_cookie",
    "stickiness.lb_cookie.duration_seconds": "86400",
    "stickiness.app_cookie.cookie_name": "",
    "stickiness.app_cookie.duration_seconds": "86400",
    "load_balancing.algorithm.type": "round_robin",
    "load_balancing.algorithm.anomaly_mitigation": "off",
    "slow_start.duration_seconds": "0",
}
NETWORK = {
    "stickiness.type": "source_ip",
    "deregistration_delay.connection_termination.enabled": "false",
    "preserve_client_ip.enabled": "true",
    "proxy_protocol_v2.enabled": "false",
    "target_health_state.unhealthy.connection_termination.enabled": "true",
    "target_health_state.unhealthy.draining_interval_seconds": "0",
}
CHECKS = {
    **{key: boolean for key in (*EVERY, *APPLICATION, *NETWORK) if key.endswith(".enabled")},
    "deregistration_delay.timeout_seconds": between(0, 3600),
    "stickiness.type": one_of("lb_cookie", "app_cookie", "source_ip", "source_ip_dest_ip", "source_ip_dest_ip_proto"),
    "stickiness.lb_cookie.duration_seconds": between(1, 604800),
    "stickiness.app_cookie.duration_seconds": between(1, 604800),
    "load_balancing.algorithm.type": one_of("round_robin", "least_outstanding_requests", "weighted_random"),
    "load_balancing.cross_zone.enabled": one_of("true", "false", "use_load_balancer_configuration"),
    "slow_start.duration_seconds": lambda value: value == "0" or between(30, 900)(value),
    "target_health_state.unhealthy.draining_interval_seconds": between(0, 360000),
}

# What ModifyTargetGroup can change, and CreateTargetGroup compares beside SETTINGS.
CHECK = (
    "HealthCheckProtocol", "HealthCheckPort", "HealthCheckPath", "HealthCheckEnabled", "HealthCheckIntervalSeconds",
    "HealthCheckTimeoutSeconds", "HealthyThresholdCount", "UnhealthyThresholdCount",
)  # fmt: skip
SETTINGS = ("Protocol", "ProtocolVersion", "Port", "VpcId", "TargetType", "IpAddressType", "Matcher", "Tags", *CHECK)


def create(region: str, request: dict) -> dict:
    """ "If you attempt to create multiple target groups with the same settings, each call succeeds." """
    name = request["Name"]
    records.check_name(name, "Target group")
    kind = request.get("TargetType") or "instance"
    if kind != "instance":
        raise elb_error("InvalidConfigurationRequest", f"Targets of type '{kind}' are not among the proving ground's")
    protocol = _protocol(request.get("Protocol"))
    if not request.get("VpcId"):
        raise invalid("A VPC ID must be specified")
    if not request.get("Port"):
        raise invalid("A port must be specified")
    if not 1 <= request["Port"] <= 65535:
        raise invalid(f"Port '{request['Port']}' must be between 1 and 65535")
    number = records.new_id()
    wanted = {
        "Arn": records.arn(region, f"targetgroup/{name}/{number}"),
        "Id": number,
        "Name": name,
        "Region": region,
        "Account": account.current(),
        "Protocol": protocol,
        "ProtocolVersion": _version(protocol, request.get("ProtocolVersion")),
        "Port": request["Port"],
        "VpcId": request["VpcId"],
        "TargetType": kind,
        "IpAddressType": request.get("IpAddressType") or "ipv4",
        **_checked(protocol, _defaults(protocol, request), request),
        "Tags": records.tags(request),
        "Attributes": {**EVERY, **(APPLICATION if protocol in ALB_PROTOCOLS else NETWORK)},
        "_targets": {},
    }
    with store.change() as tables:
        existing = next((g for g in records.of_here(tables, GROUPS, region) if g["Name"] == name), None)
        if existing is None:
            tables[GROUPS][wanted["Arn"]] = wanted
        elif any(existing[key] != wanted[key] for key in SETTINGS):
            raise elb_error(
                "DuplicateTargetGroupName",
                f"A target group with the same name '{name}' exists, but with different settings",
            )
        return {"TargetGroups": [_shown(existing or wanted, records.users(tables))]}


def describe(region: str, request: dict) -> dict:
    with store.read(faults.lag("elbv2", region)) as tables:
        arns, names = request.get("TargetGroupArns") or [], request.get("Names") or []
        balancer = request.get("LoadBalancerArn")
        if bool(arns) + bool(names) + bool(balancer) > 1:
            raise invalid("Only one of load balancer ARN, target group ARNs and target group names can be specified")
        users = records.users(tables)
        found = records.of_here(tables, GROUPS, region)
        if arns:
            found = [records.group(tables, region, wanted) for wanted in dict.fromkeys(arns)]
        elif names:
            found = records.named(found, names, "TargetGroupNotFound", "Target groups")
        elif balancer:
            records.balancer(tables, region, balancer)
            found = [g for g in found if users.get(g["Arn"]) == balancer]
        page, more = records.page(found, request)
        return {"TargetGroups": [_shown(group, users) for group in page], **more}


def modify(region: str, request: dict) -> dict:
    with store.change() as tables:
        group = records.group(tables, region, request["TargetGroupArn"])
        group.update(_checked(group["Protocol"], {key: group[key] for key in (*CHECK, "Matcher")}, request))
        users = records.users(tables)
        registration.start_user(tables, users.get(group["Arn"]))
        return {"TargetGroups": [_shown(group, users)]}


def delete(region: str, request: dict) -> dict:
    """A group that is already gone is no error; one that a listener or a rule forwards to is in use."""
    with store.change() as tables:
        group = tables[GROUPS].get(request["TargetGroupArn"])
        if group is None or group not in records.of_here(tables, GROUPS, region):
            return {}
        if group["Arn"] in records.users(tables):
            raise elb_error(
                "ResourceInUse", f"Target group '{group['Arn']}' is currently in use by a listener or a rule"
            )
        del tables[GROUPS][group["Arn"]]
    return {}


def describe_attributes(region: str, request: dict) -> dict:
    with store.read(faults.lag("elbv2", region)) as tables:
        return records.shown_attributes(records.group(tables, region, request["TargetGroupArn"]))


def modify_attributes(region: str, request: dict) -> dict:
    with store.change() as tables:
        group = records.group(tables, region, request["TargetGroupArn"])
        answer = records.attributes(group, request, CHECKS)
        registration.start_user(tables, records.users(tables).get(group["Arn"]))
        return answer


def _protocol(protocol: str | None) -> str:
    if not protocol:
        raise invalid("A protocol must be specified")
    if protocol not in (*ALB_PROTOCOLS, *NLB_PROTOCOLS):
        raise elb_error("InvalidConfigurationRequest", f"The protocol '{protocol}' is not among the proving ground's")
    return protocol


def _version(protocol: str, version: str | None) -> str | None:
    if protocol not in ALB_PROTOCOLS:
        if version:
            raise invalid(f"A protocol version cannot be specified for the protocol '{protocol}'")
        return None
    if version not in (None, "HTTP1"):
        raise elb_error(
            "InvalidConfigurationRequest", f"The protocol version '{version}' is not among the proving ground's"
        )
    return "HTTP1"


def _defaults(protocol: str, request: dict) -> dict:
    """Of the API reference of CreateTargetGroup; the time-outs of the two user guides, "Health check settings"."""
    application = protocol in ALB_PROTOCOLS
    check = request.get("HealthCheckProtocol") or ("HTTP" if application else "TCP")
    http = check in ALB_PROTOCOLS
    return {
        "HealthCheckProtocol": check,
        "HealthCheckPort": "traffic-port",
        "HealthCheckPath": "/" if http else None,
        "HealthCheckEnabled": True,
        "HealthCheckIntervalSeconds": 30,
        "HealthCheckTimeoutSeconds": 5 if application else 6 if check == "HTTP" else 10,
        "HealthyThresholdCount": 5,
        "UnhealthyThresholdCount": 2,
        "Matcher": ("200" if application else "200-399") if http else None,
    }


def _checked(protocol: str, present: dict, request: dict) -> dict:
    """The health check with what the request says of it; a wrong one is refused."""
    check = {key: request.get(key, present[key]) for key in CHECK}
    http = check["HealthCheckProtocol"] in ALB_PROTOCOLS
    allowed = ALB_PROTOCOLS if protocol in ALB_PROTOCOLS else (*ALB_PROTOCOLS, "TCP")
    if check["HealthCheckProtocol"] not in allowed:
        raise invalid(f"Health check protocol '{check['HealthCheckProtocol']}' must be one of {', '.join(allowed)}")
    if not check["HealthCheckEnabled"]:
        raise invalid("Health check enabled must be true for target groups with target type 'instance'")
    port = check["HealthCheckPort"]
    if port != "traffic-port" and not (port.isdigit() and 1 <= int(port) <= 65535):
        raise invalid(f"Health check port '{port}' must be 'traffic-port' or an integer between 1 and 65535")
    for key, low, high in (
        ("HealthCheckIntervalSeconds", 5, 300), ("HealthCheckTimeoutSeconds", 2, 120),
        ("HealthyThresholdCount", 2, 10), ("UnhealthyThresholdCount", 2, 10),
    ):  # fmt: skip
        if not low <= check[key] <= high:
            raise invalid(f"{key} '{check[key]}' must be between {low} and {high}")
    if check["HealthCheckTimeoutSeconds"] >= check["HealthCheckIntervalSeconds"]:
        raise invalid("Health check interval must be greater than the timeout.")
    matcher = (request.get("Matcher") or {}).get("HttpCode") or present["Matcher"]
    if not http:
        if request.get("HealthCheckPath") or request.get("Matcher"):
            raise invalid("A health check path and a matcher go with the health check protocols HTTP and HTTPS alone")
        return {**check, "HealthCheckPath": None, "Matcher": None}
    path = check["HealthCheckPath"] or "/"
    if not re.fullmatch(r"/[!-~]{0,1023}", path):
        raise invalid(f"Health check path '{path}' must begin with '/' and have at most 1024 characters, without spaces")
    return {**check, "HealthCheckPath": path, "Matcher": _matcher(matcher or "200", protocol)}


def _matcher(codes: str, protocol: str) -> str:
    highest = 499 if protocol in ALB_PROTOCOLS else 599
    for part in codes.split(","):
        low, dash, high = part.partition("-")
        ends = [low, high] if dash else [low]
        known = all(re.fullmatch(r"[0-9]{3}", end) and 200 <= int(end) <= highest for end in ends)
        if not known or int(ends[0]) > int(ends[-1]):
            raise invalid(
                f"Health check matcher HTTP code '{codes}' must be within 200 and {highest}, like 200,202 or 200-299"
            )
    return codes


def _shown(group: dict, users: dict[str, str]) -> dict:
    user = users.get(group["Arn"])
    return {
        **group,
        "TargetGroupArn": group["Arn"],
        "TargetGroupName": group["Name"],
        "Matcher": {"HttpCode": group["Matcher"]} if group["Matcher"] else None,
        "LoadBalancerArns": [user] if user else [],
    }


OPERATIONS = {
    "CreateTargetGroup": create,
    "DescribeTargetGroups": describe,
    "ModifyTargetGroup": modify,
    "DeleteTargetGroup": delete,
    "DescribeTargetGroupAttributes": describe_attributes,
    "ModifyTargetGroupAttributes": modify_attributes,
}
