"""Classic load balancers: the requests. registration.py knows how instances come and go; haproxy.py runs them."""

import random
import re
from datetime import datetime, timezone

from . import faults, haproxy, health, machines, network, registration
from .errors import elb_error, no_ec2_instance, no_load_balancer
from .registration import key
from .testbed import store

PROTOCOLS = ("HTTP", "HTTPS", "TCP", "SSL")
SECURE = ("HTTPS", "SSL")


def create_load_balancer(region: str, request: dict) -> dict:
    name = request["LoadBalancerName"]
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?", name):
        raise elb_error(
            "ValidationError",
            "LoadBalancerName must have at most 32 characters, only letters, digits and hyphens, and must not "
            "begin or end with a hyphen",
        )
    if not request.get("AvailabilityZones") and not request.get("Subnets"):
        raise elb_error("ValidationError", "Either AvailabilityZones or SubnetIds must be specified")
    if not request.get("Listeners"):
        raise elb_error("ValidationError", "Listeners cannot be empty")
    listeners = [_checked_listener(listener) for listener in request["Listeners"]]
    if len({listener["LoadBalancerPort"] for listener in listeners}) != len(listeners):
        raise elb_error("DuplicateListener", "A load balancer port can have only one listener")
    vpc = _vpc(region, request.get("Subnets") or [])
    _check_groups(region, vpc, request.get("SecurityGroups") or [])
    number = random.randrange(10**8, 10**9)
    with store.change() as tables:
        if key(region, name) in tables["balancers"]:
            raise elb_error("DuplicateLoadBalancerName", f"Load balancer {name} already exists")
        balancer = {
            "Name": name,
            "Region": region,
            "Address": haproxy.free_address(tables),
            "DNSName": f"{name}-{number}.{region}.elb.amazonaws.com",
            "Listeners": listeners,
            "AvailabilityZones": request.get("AvailabilityZones") or [f"{region}a"],
            "Subnets": request.get("Subnets") or [],
            "SecurityGroups": request.get("SecurityGroups") or [],
            "Scheme": request.get("Scheme") or "internet-facing",
            "VPCId": vpc,
            "Tags": {tag["Key"]: tag.get("Value", "") for tag in request.get("Tags") or []},
            "CreatedTime": datetime.now(timezone.utc).isoformat(),
            # The defaults of a balancer that nobody configured (user guide, "Configure health checks").
            "HealthCheck": {
                "Target": f"TCP:{listeners[0]['InstancePort']}",
                "Interval": 30,
                "Timeout": 5,
                "UnhealthyThreshold": 2,
                "HealthyThreshold": 10,
            },
            "Attributes": {
                "CrossZoneLoadBalancing": {"Enabled": False},
                "AccessLog": {"Enabled": False},
                "ConnectionDraining": {"Enabled": False, "Timeout": 300},
                "ConnectionSettings": {"IdleTimeout": 60},
                "AdditionalAttributes": [
                    {"Key": "elb.http.desyncmitigationmode", "Value": "defensive"}
                ],
            },
            "_instances": {},
        }
        registration.start(balancer)
        tables["balancers"][key(region, name)] = balancer
    return {"DNSName": balancer["DNSName"]}


def _vpc(region: str, subnets: list[str]) -> str:
    """That of its subnets; of a balancer that has zones, the default one."""
    found = [_subnet(region, subnet) for subnet in subnets]
    return found[0]["VpcId"] if found else network.default_vpc(region)


def _subnet(region: str, subnet_id: str) -> dict:
    found = network.subnet(region, subnet_id)
    if found is None:
        raise elb_error("SubnetNotFound", "One or more of the specified subnets does not exist")
    return found


def _check_groups(region: str, vpc: str, groups: list[str]) -> None:
    if groups and not set(groups) <= set(network.security_groups(region, vpc)):
        raise elb_error("InvalidSecurityGroup", "One or more of the specified security groups do not exist")


def describe_load_balancers(region: str, request: dict) -> dict:
    """Paged by PageSize (1 to 400) and Marker; an unknown name is an error, an empty list is every balancer."""
    with store.read(faults.lag("elb", region)) as tables:
        names = request.get("LoadBalancerNames") or []
        for name in names:
            if key(region, name) not in tables["balancers"]:
                raise no_load_balancer(name)
        found = sorted(
            (b for b in tables["balancers"].values() if b["Region"] == region and (not names or b["Name"] in names)),
            key=lambda b: b["Name"],
        )
        size = request.get("PageSize") or 400
        if not 1 <= size <= 400:
            raise elb_error("ValidationError", "PageSize must be between 1 and 400")
        marker = request.get("Marker")
        rest = [b for b in found if marker is None or b["Name"] > marker]
        page = rest[:size]
        answer = {"LoadBalancerDescriptions": [_shown(b) for b in page]}
        if len(rest) > size:
            answer["NextMarker"] = page[-1]["Name"]
        return answer


def delete_load_balancer(region: str, request: dict) -> dict:
    """ "If the load balancer does not exist or has already been deleted, the call succeeds." """
    with store.change() as tables:
        balancer = tables["balancers"].pop(key(region, request["LoadBalancerName"]), None)
        if balancer:
            haproxy.stop(balancer)
    return {}


def create_listeners(region: str, request: dict) -> dict:
    with store.change() as tables:
        balancer = registration.balancer(tables, region, request["LoadBalancerName"])
        for wanted in map(_checked_listener, request["Listeners"]):
            same_port = [x for x in balancer["Listeners"] if x["LoadBalancerPort"] == wanted["LoadBalancerPort"]]
            if not same_port:
                balancer["Listeners"].append(wanted)
            elif same_port[0] != wanted:
                raise elb_error(
                    "DuplicateListener",
                    f"A listener already exists for {balancer['Name']} with LoadBalancerPort "
                    f"{wanted['LoadBalancerPort']}, but with a different InstancePort, Protocol, or SSLCertificateId",
                )
        registration.start(balancer)
    return {}


def delete_listeners(region: str, request: dict) -> dict:
    with store.change() as tables:
        balancer = registration.balancer(tables, region, request["LoadBalancerName"])
        gone = set(request["LoadBalancerPorts"])
        balancer["Listeners"] = [x for x in balancer["Listeners"] if x["LoadBalancerPort"] not in gone]
        registration.start(balancer)
    return {}


def set_certificate(region: str, request: dict) -> dict:
    with store.change() as tables:
        balancer = registration.balancer(tables, region, request["LoadBalancerName"])
        port = request["LoadBalancerPort"]
        listener = next((x for x in balancer["Listeners"] if x["LoadBalancerPort"] == port), None)
        if listener is None:
            raise elb_error("ListenerNotFound", f"There is no listener for the load balancer port {port}")
        if listener["Protocol"] not in SECURE:
            raise elb_error("InvalidConfigurationRequest", "The listener is not secure", 409)
        listener["SSLCertificateId"] = request["SSLCertificateId"]
    return {}


def attach_to_subnets(region: str, request: dict) -> dict:
    """One subnet a zone: another one of a zone takes the place of the first."""
    balancer = _read(region, request["LoadBalancerName"])
    new = [_subnet(region, subnet) for subnet in request["Subnets"]]
    if any(subnet["VpcId"] != balancer["VPCId"] for subnet in new):
        raise elb_error("InvalidConfigurationRequest", "The subnets are of another VPC", 409)
    had = [_subnet(region, subnet) for subnet in balancer["Subnets"]]
    return _set_subnets(region, balancer["Name"], {subnet["ZoneName"]: subnet["SubnetId"] for subnet in had + new})


def detach_from_subnets(region: str, request: dict) -> dict:
    balancer = _read(region, request["LoadBalancerName"])
    left = [_subnet(region, subnet) for subnet in balancer["Subnets"] if subnet not in request["Subnets"]]
    if not left:
        raise elb_error("InvalidConfigurationRequest", "A load balancer must have at least one subnet", 409)
    return _set_subnets(region, balancer["Name"], {subnet["ZoneName"]: subnet["SubnetId"] for subnet in left})


def _read(region: str, name: str) -> dict:
    with store.read() as tables:
        return dict(registration.balancer(tables, region, name))


def _set_subnets(region: str, name: str, by_zone: dict[str, str]) -> dict:
    zones = sorted(by_zone)
    subnets = [by_zone[zone] for zone in zones]
    with store.change() as tables:
        registration.balancer(tables, region, name).update(Subnets=subnets, AvailabilityZones=zones)
    return {"Subnets": subnets}


def apply_security_groups(region: str, request: dict) -> dict:
    groups = list(request["SecurityGroups"])
    _check_groups(region, _read(region, request["LoadBalancerName"])["VPCId"], groups)
    with store.change() as tables:
        registration.balancer(tables, region, request["LoadBalancerName"])["SecurityGroups"] = groups
    return {"SecurityGroups": groups}


def configure_health_check(region: str, request: dict) -> dict:
    check = request["HealthCheck"]
    try:
        haproxy.parse_target(check["Target"])
    except ValueError:
        raise elb_error(
            "ValidationError", f"HealthCheck Target '{check['Target']}' must be like HTTP:80/path or TCP:80"
        ) from None
    for name, low, high in (
        ("Interval", 5, 300), ("Timeout", 2, 60), ("UnhealthyThreshold", 2, 10), ("HealthyThreshold", 2, 10),
    ):  # fmt: skip
        if not low <= check[name] <= high:
            raise elb_error("ValidationError", f"HealthCheck {name} must be between {low} and {high}")
    if check["Timeout"] >= check["Interval"]:
        raise elb_error("ValidationError", "HealthCheck timeout must be less than interval")
    with store.change() as tables:
        balancer = registration.balancer(tables, region, request["LoadBalancerName"])
        balancer["HealthCheck"] = dict(check)
        registration.start(balancer)
    return {"HealthCheck": dict(check)}


def describe_attributes(region: str, request: dict) -> dict:
    with store.read(faults.lag("elb", region)) as tables:
        balancer = registration.balancer(tables, region, request["LoadBalancerName"])
        return {"LoadBalancerAttributes": balancer["Attributes"]}


def modify_attributes(region: str, request: dict) -> dict:
    wanted = request["LoadBalancerAttributes"]
    timeout = (wanted.get("ConnectionDraining") or {}).get("Timeout")
    if timeout is not None and not 1 <= timeout <= 3600:
        raise elb_error("ValidationError", "ConnectionDraining Timeout must be between 1 and 3600")
    idle = (wanted.get("ConnectionSettings") or {}).get("IdleTimeout")
    if idle is not None and not 1 <= idle <= 4000:
        raise elb_error("ValidationError", "ConnectionSettings IdleTimeout must be between 1 and 4000")
    with store.change() as tables:
        balancer = registration.balancer(tables, region, request["LoadBalancerName"])
        attributes = balancer["Attributes"]
        for name, value in wanted.items():
            attributes[name] = {**attributes[name], **value} if isinstance(value, dict) else value
        registration.start(balancer)
    return {"LoadBalancerName": balancer["Name"], "LoadBalancerAttributes": wanted}


def register_instances(region: str, request: dict) -> dict:
    ids = [instance["InstanceId"] for instance in request["Instances"]]
    _check_known(region, request["LoadBalancerName"], ids)
    register(region, request["LoadBalancerName"], ids)
    return _instances(region, request["LoadBalancerName"])


def deregister_instances(region: str, request: dict) -> dict:
    ids = [instance["InstanceId"] for instance in request["Instances"]]
    _check_known(region, request["LoadBalancerName"], ids)
    deregister(region, request["LoadBalancerName"], ids)
    return _instances(region, request["LoadBalancerName"], without_draining=True)


def describe_instance_health(region: str, request: dict) -> dict:
    lag = faults.lag("elb", region)
    name = request["LoadBalancerName"]
    with store.read(lag) as tables:
        balancer = registration.balancer(tables, region, name)
        wanted = [instance["InstanceId"] for instance in request.get("Instances") or []]
        for instance_id in wanted:
            if machines.get(instance_id) is None:
                raise no_ec2_instance(instance_id)
        states = health.states(balancer, lag)
    ids = wanted or list(states)
    return {"InstanceStates": [states.get(instance_id) or health.unregistered(instance_id) for instance_id in ids]}


def add_tags(region: str, request: dict) -> dict:
    with store.change() as tables:
        for name in request["LoadBalancerNames"]:
            tags = registration.balancer(tables, region, name)["Tags"]
            tags.update({tag["Key"]: tag.get("Value", "") for tag in request["Tags"]})
            if len(tags) > 50:
                raise elb_error("TooManyTags", "A load balancer can have at most 50 tags")
    return {}


def remove_tags(region: str, request: dict) -> dict:
    with store.change() as tables:
        for name in request["LoadBalancerNames"]:
            for tag in request["Tags"]:
                registration.balancer(tables, region, name)["Tags"].pop(tag["Key"], None)
    return {}


def describe_tags(region: str, request: dict) -> dict:
    with store.read(faults.lag("elb", region)) as tables:
        return {
            "TagDescriptions": [
                {
                    "LoadBalancerName": name,
                    "Tags": [
                        {"Key": k, "Value": v}
                        for k, v in registration.balancer(tables, region, name)["Tags"].items()
                    ],
                }
                for name in request["LoadBalancerNames"]
            ]
        }


# What OpsWorks does to its layers' balancers.


def exists(region: str, name: str) -> bool:
    with store.read() as tables:
        return key(region, name) in tables["balancers"]


def registered(region: str, name: str) -> list[str]:
    with store.read() as tables:
        return list(tables["balancers"][key(region, name)]["_instances"])


def is_registered(region: str, name: str, instance_id: str) -> bool:
    return exists(region, name) and instance_id in registered(region, name)


register = registration.register
deregister = registration.deregister


def _check_known(region: str, name: str, ids: list[str]) -> None:
    with store.read() as tables:
        registration.balancer(tables, region, name)
        for instance_id in ids:
            machine = machines.get(instance_id)
            if machine is None or machine.region != region or machine.state == "terminated":
                raise no_ec2_instance(instance_id)


def _instances(region: str, name: str, without_draining: bool = False) -> dict:
    with store.read() as tables:
        entries = tables["balancers"][key(region, name)]["_instances"]
        ids = [i for i, e in entries.items() if not (without_draining and e["state"] == "draining")]
        return {"Instances": [{"InstanceId": instance_id} for instance_id in ids]}


def _checked_listener(listener: dict) -> dict:
    protocol = listener["Protocol"].upper()
    inner = (listener.get("InstanceProtocol") or protocol).upper()
    if protocol not in PROTOCOLS or inner not in PROTOCOLS:
        raise elb_error("UnsupportedProtocol", f"Protocol must be one of {', '.join(PROTOCOLS)}")
    if (protocol in ("HTTP", "HTTPS")) != (inner in ("HTTP", "HTTPS")):
        raise elb_error(
            "InvalidConfigurationRequest",
            "Protocol and InstanceProtocol must be at the same layer: HTTP with HTTPS, or TCP with SSL",
            409,
        )
    if protocol in SECURE and not listener.get("SSLCertificateId"):
        raise elb_error("ValidationError", f"A listener of {protocol} needs an SSLCertificateId")
    for port in (listener["LoadBalancerPort"], listener["InstancePort"]):
        if not 1 <= port <= 65535:
            raise elb_error("ValidationError", f"Port {port} must be between 1 and 65535")
    return {**listener, "Protocol": protocol, "InstanceProtocol": inner}


def _shown(balancer: dict) -> dict:
    return {
        "LoadBalancerName": balancer["Name"],
        "DNSName": balancer["DNSName"],
        "CanonicalHostedZoneName": balancer["DNSName"],
        "CanonicalHostedZoneNameID": "Z32O12XQLNTSW2",
        "ListenerDescriptions": [{"Listener": x, "PolicyNames": []} for x in balancer["Listeners"]],
        "Policies": {"AppCookieStickinessPolicies": [], "LBCookieStickinessPolicies": [], "OtherPolicies": []},
        "BackendServerDescriptions": [],
        "AvailabilityZones": balancer["AvailabilityZones"],
        "Subnets": balancer["Subnets"],
        "VPCId": balancer["VPCId"],
        "Instances": [
            {"InstanceId": i} for i, e in balancer["_instances"].items() if e["state"] != "draining"
        ],
        "HealthCheck": balancer["HealthCheck"],
        "SourceSecurityGroup": {"OwnerAlias": "amazon-elb", "GroupName": "amazon-elb-sg"},
        "SecurityGroups": balancer["SecurityGroups"],
        "CreatedTime": datetime.fromisoformat(balancer["CreatedTime"]),
        "Scheme": balancer["Scheme"],
    }


OPERATIONS = {
    "CreateLoadBalancer": create_load_balancer,
    "DescribeLoadBalancers": describe_load_balancers,
    "DeleteLoadBalancer": delete_load_balancer,
    "CreateLoadBalancerListeners": create_listeners,
    "DeleteLoadBalancerListeners": delete_listeners,
    "SetLoadBalancerListenerSSLCertificate": set_certificate,
    "AttachLoadBalancerToSubnets": attach_to_subnets,
    "DetachLoadBalancerFromSubnets": detach_from_subnets,
    "ApplySecurityGroupsToLoadBalancer": apply_security_groups,
    "ConfigureHealthCheck": configure_health_check,
    "DescribeLoadBalancerAttributes": describe_attributes,
    "ModifyLoadBalancerAttributes": modify_attributes,
    "RegisterInstancesWithLoadBalancer": register_instances,
    "DeregisterInstancesFromLoadBalancer": deregister_instances,
    "DescribeInstanceHealth": describe_instance_health,
    "AddTags": add_tags,
    "RemoveTags": remove_tags,
    "DescribeTags": describe_tags,
}
