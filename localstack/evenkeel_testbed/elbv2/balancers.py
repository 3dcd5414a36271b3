"""The load balancers themselves: the requests."""

import random
import time
from datetime import datetime

from .. import account, faults, haproxy, network
from ..errors import elb_error
from ..testbed import setting, store
from . import records, registration
from .records import BALANCERS, GROUPS, LISTENERS, RULES, between, boolean, invalid, one_of

# The defaults of the API reference, "LoadBalancerAttribute".
EVERY = {
    "deletion_protection.enabled": "false",
    "access_logs.s3.enabled": "false",
    "access_logs.s3.bucket": "",
    "access_logs.s3.prefix": "",
    "ipv6.deny_all_igw_traffic": "false",
    "zonal_shift.config.enabled": "false",
}
APPLICATION = {
    "load_balancing.cross_zone.enabled": "true",
    "idle_timeout.timeout_seconds": "60",
    "client_keep_alive.seconds": "3600",
    "connection_logs.s3.enabled": "false",
    "connection_logs.s3.bucket": "",
    "connection_logs.s3.prefix": "",
    "routing.http.desync_mitigation_mode": "defensive",
    "routing.http.drop_invalid_header_fields.enabled": "false",
    "routing.http.preserve_host_header.enabled": "false",
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": "false",
    "routing.http.xff_client_port.enabled": "false",
    "routing.http.xff_header_processing.mode": "append",
    "routing.http2.enabled": "true",
    "waf.fail_open.enabled": "false",
}
NETWORK = {
    "load_balancing.cross_zone.enabled": "false",
    "dns_record.client_routing_policy": "any_availability_zone",
}
CHECKS = {
    **{key: boolean for key in (*EVERY, *APPLICATION, *NETWORK) if key.endswith(".enabled")},
    "idle_timeout.timeout_seconds": between(1, 4000),
    "client_keep_alive.seconds": between(60, 604800),
    "routing.http.desync_mitigation_mode": one_of("monitor", "defensive", "strictest"),
    "routing.http.xff_header_processing.mode": one_of("append", "preserve", "remove"),
    "dns_record.client_routing_policy": one_of(
        "availability_zone_affinity", "partial_availability_zone_affinity", "any_availability_zone"
    ),
}

# What has to be the same for CreateLoadBalancer to give the balancer that there is.
SETTINGS = ("Type", "Scheme", "IpAddressType", "Subnets", "SecurityGroups", "Tags")


def create(region: str, request: dict) -> dict:
    """ "If you attempt to create multiple load balancers with the same settings, each call succeeds." """
    name, kind = request["Name"], request.get("Type") or "application"
    records.check_name(name, "Load balancer")
    if name.startswith("internal-"):
        raise invalid(f"Load balancer name '{name}' cannot begin with 'internal-'")
    if kind not in records.KINDS:
        raise elb_error(
            "InvalidConfigurationRequest", f"Load balancers of type '{kind}' are not among the proving ground's"
        )
    scheme = request.get("Scheme") or "internet-facing"
    subnets = _subnets(region, kind, request)
    vpc = subnets[0]["VpcId"]
    security_groups = _security_groups(region, vpc, request.get("SecurityGroups") or [])
    if not security_groups and kind == "application":
        security_groups = [i for i, group in network.security_groups(region, vpc).items() if group == "default"]
    number = records.new_id()
    wanted = {
        "Arn": records.arn(region, f"loadbalancer/{records.KINDS[kind]}/{name}/{number}"),
        "Id": number,
        "Name": name,
        "Type": kind,
        "Region": region,
        "Account": account.current(),
        "Scheme": scheme,
        "IpAddressType": request.get("IpAddressType") or "ipv4",
        "VpcId": vpc,
        "Subnets": [{"SubnetId": s["SubnetId"], "ZoneName": s["ZoneName"]} for s in subnets],
        "SecurityGroups": security_groups,
        "Tags": records.tags(request),
        "DNSName": _dns_name(name, kind, scheme, region, number),
        "CreatedTime": records.now(),
        "Attributes": {**EVERY, **(APPLICATION if kind == "application" else NETWORK)},
        "_active_at": time.time() + setting("state_delay"),
    }
    with store.change() as tables:
        existing = next((b for b in records.of_here(tables, BALANCERS, region) if b["Name"] == name), None)
        if existing is None:
            wanted["Address"] = haproxy.free_address(tables)
            tables[BALANCERS][wanted["Arn"]] = wanted
        elif any(existing[key] != wanted[key] for key in SETTINGS):
            raise elb_error(
                "DuplicateLoadBalancerName",
                f"A load balancer with the same name '{name}' exists, but with different settings",
            )
        return {"LoadBalancers": [shown(existing or wanted)]}


def describe(region: str, request: dict) -> dict:
    lag = faults.lag("elbv2", region)
    with store.read(lag) as tables:
        arns, names = request.get("LoadBalancerArns") or [], request.get("Names") or []
        if arns and names:
            raise invalid("Load balancer names and load balancer ARNs cannot be specified at the same time")
        found = records.of_here(tables, BALANCERS, region)
        if arns:
            found = [records.balancer(tables, region, wanted) for wanted in dict.fromkeys(arns)]
        elif names:
            found = records.named(found, names, "LoadBalancerNotFound", "Load balancers")
        page, more = records.page(found, request)
        return {"LoadBalancers": [shown(balancer, lag) for balancer in page], **more}


def delete(region: str, request: dict) -> dict:
    """ "If the load balancer does not exist or has already been deleted, the call succeeds." """
    with store.change() as tables:
        balancer = tables[BALANCERS].get(request["LoadBalancerArn"])
        if balancer is None or balancer not in records.of_here(tables, BALANCERS, region):
            return {}
        if balancer["Attributes"]["deletion_protection.enabled"] == "true":
            raise elb_error(
                "OperationNotPermitted",
                f"Load balancer '{balancer['Arn']}' cannot be deleted because deletion protection is enabled",
            )
        forget(tables, balancer)
    return {}


def forget(tables: dict, balancer: dict) -> None:
    """With its listeners and their rules; target groups stay."""
    haproxy.stop(balancer)
    del tables[BALANCERS][balancer["Arn"]]
    for table in (LISTENERS, RULES):
        for record in records.of_balancer(tables, table, balancer["Arn"]):
            del tables[table][record["Arn"]]


def describe_attributes(region: str, request: dict) -> dict:
    with store.read(faults.lag("elbv2", region)) as tables:
        return records.shown_attributes(records.balancer(tables, region, request["LoadBalancerArn"]))


def modify_attributes(region: str, request: dict) -> dict:
    with store.change() as tables:
        balancer = records.balancer(tables, region, request["LoadBalancerArn"])
        answer = records.attributes(balancer, request, CHECKS)
        registration.start(tables, balancer)
        return answer


def set_subnets(region: str, request: dict) -> dict:
    with store.change() as tables:
        balancer = records.balancer(tables, region, request["LoadBalancerArn"])
        subnets = _subnets(region, balancer["Type"], request, balancer)
        balancer["Subnets"] = [{"SubnetId": s["SubnetId"], "ZoneName": s["ZoneName"]} for s in subnets]
        if request.get("IpAddressType"):
            balancer["IpAddressType"] = request["IpAddressType"]
        return {"AvailabilityZones": _zones(balancer), "IpAddressType": balancer["IpAddressType"]}


def set_security_groups(region: str, request: dict) -> dict:
    with store.change() as tables:
        balancer = records.balancer(tables, region, request["LoadBalancerArn"])
        if balancer["Type"] == "network" and not balancer["SecurityGroups"]:
            raise elb_error(
                "InvalidConfigurationRequest",
                "Security groups cannot be set on a network load balancer that was created without any",
            )
        balancer["SecurityGroups"] = _security_groups(region, balancer["VpcId"], request["SecurityGroups"])
        return {"SecurityGroupIds": balancer["SecurityGroups"]}


def groups_of(tables: dict, balancer_arn: str) -> list[dict]:
    """The target groups that it forwards to."""
    return [tables[GROUPS][arn] for arn, user in records.users(tables).items() if user == balancer_arn]


def _subnets(region: str, kind: str, request: dict, balancer: dict | None = None) -> list[dict]:
    ids = list(request.get("Subnets") or []) + [m["SubnetId"] for m in request.get("SubnetMappings") or []]
    if request.get("Subnets") and request.get("SubnetMappings"):
        raise invalid("You must specify either subnets or subnet mappings, but not both")
    if not ids:
        raise invalid("A load balancer cannot be created without specifying subnets")
    # A subnet that the balancer has already is known, whatever has become of it.
    known = {s["SubnetId"]: {**s, "VpcId": balancer["VpcId"]} for s in balancer["Subnets"]} if balancer else {}
    found = []
    for subnet_id in ids:
        subnet = known.get(subnet_id) or network.subnet(region, subnet_id)
        if subnet is None:
            raise elb_error("SubnetNotFound", f"The subnet ID '{subnet_id}' does not exist")
        found.append(subnet)
    if len({s["VpcId"] for s in found} | ({balancer["VpcId"]} if balancer else set())) > 1:
        raise elb_error("InvalidSubnet", "The subnets of a load balancer must all be in the same VPC")
    zones = [s["ZoneName"] for s in found]
    if len(set(zones)) != len(zones):
        raise elb_error(
            "InvalidConfigurationRequest",
            "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
        )
    if kind == "application" and len(zones) < 2:
        raise invalid("At least two subnets in two different Availability Zones must be specified")
    return sorted(found, key=lambda s: s["ZoneName"])


def _security_groups(region: str, vpc: str, ids: list[str]) -> list[str]:
    known = network.security_groups(region, vpc) if ids else {}
    for group_id in ids:
        if group_id not in known:
            raise elb_error("InvalidSecurityGroup", f"The security group ID '{group_id}' does not exist in {vpc}")
    return sorted(ids)


def _dns_name(name: str, kind: str, scheme: str, region: str, number: str) -> str:
    prefix = "internal-" if scheme == "internal" else ""
    if kind == "network":
        return f"{name}-{number}.elb.{region}.amazonaws.com"
    return f"{prefix}{name}-{random.randrange(10**8, 10**9)}.{region}.elb.amazonaws.com"


def shown(balancer: dict, lag: float = 0) -> dict:
    active = time.time() - lag >= balancer["_active_at"]
    return {
        "LoadBalancerArn": balancer["Arn"],
        "DNSName": balancer["DNSName"],
        "CanonicalHostedZoneId": "Z32O12XQLNTSW2" if balancer["Type"] == "application" else "Z2IFOLAFXWLO4F",
        "CreatedTime": datetime.fromisoformat(balancer["CreatedTime"]),
        "LoadBalancerName": balancer["Name"],
        "Scheme": balancer["Scheme"],
        "VpcId": balancer["VpcId"],
        "State": {"Code": "active" if active else "provisioning"},
        "Type": balancer["Type"],
        "AvailabilityZones": _zones(balancer),
        "SecurityGroups": balancer["SecurityGroups"],
        "IpAddressType": balancer["IpAddressType"],
    }


def _zones(balancer: dict) -> list[dict]:
    """AWS tells addresses of network balancers with addresses of their own; here every balancer has one, and no DNS
    would find it."""
    return [
        {**subnet, "LoadBalancerAddresses": [{"IpAddress": balancer["Address"]}]} for subnet in balancer["Subnets"]
    ]


OPERATIONS = {
    "CreateLoadBalancer": create,
    "DescribeLoadBalancers": describe,
    "DeleteLoadBalancer": delete,
    "DescribeLoadBalancerAttributes": describe_attributes,
    "ModifyLoadBalancerAttributes": modify_attributes,
    "SetSubnets": set_subnets,
    "SetSecurityGroups": set_security_groups,
}
