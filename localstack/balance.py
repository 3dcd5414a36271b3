"""A load balancer in front of instances, by plain AWS calls alone: for tests, demonstrations and trying things out.

    . .testbed/env
    python=.testbed/venv/bin/python
    $python localstack/balance.py create shop --path /up --stack shop     # application load balancer and target group
    $python localstack/balance.py show shop                               # its address, and what is said of its targets
    $python localstack/balance.py delete shop

Creating twice is creating once. The balancer listens where AvailabilityZones[].LoadBalancerAddresses[] says: no DNS
knows the names of the proving ground's balancers.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass

import boto3


@dataclass(frozen=True)
class Front:
    """`group` and `listener` are ARNs like `arn`; `address` is an IP address."""

    name: str
    arn: str
    group: str
    listener: str
    address: str
    port: int


def subnets(region: str | None = None, vpc: str | None = None) -> tuple[str, list[str]]:
    """A VPC, the default one if none is named, and a subnet of it in each zone."""
    ec2 = boto3.client("ec2", region_name=region)
    if vpc is None:
        defaults = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not defaults:
            raise SystemExit(f"{ec2.meta.region_name} has no default VPC; name one")
        vpc = defaults[0]["VpcId"]
    found = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    by_zone = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in found}
    return vpc, [by_zone[zone] for zone in sorted(by_zone)]


def create(
    name: str, kind: str = "application", port: int = 80, target_port: int = 80, path: str = "/", interval: int = 5,
    draining: int = 60, stack: str | None = None, region: str | None = None, vpc: str | None = None,
) -> Front:  # fmt: skip
    """A balancer, its target group of the same name, checked by HTTP, and a listener; waits until it is active."""
    elbv2 = boto3.client("elbv2", region_name=region)
    vpc, ids = subnets(region, vpc)
    tags = {"Tags": [{"Key": "evenkeel:stack", "Value": stack}]} if stack else {}
    protocol = "HTTP" if kind == "application" else "TCP"
    arn = elbv2.create_load_balancer(Name=name, Type=kind, Subnets=ids, **tags)["LoadBalancers"][0]["LoadBalancerArn"]
    group = elbv2.create_target_group(
        Name=name, Protocol=protocol, Port=target_port, VpcId=vpc, HealthCheckProtocol="HTTP", HealthCheckPath=path,
        HealthCheckIntervalSeconds=interval, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2,
        UnhealthyThresholdCount=2, **tags,
    )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
    delay = {"Key": "deregistration_delay.timeout_seconds", "Value": str(draining)}
    elbv2.modify_target_group_attributes(TargetGroupArn=group, Attributes=[delay])
    elbv2.create_listener(
        LoadBalancerArn=arn, Protocol=protocol, Port=port,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )  # fmt: skip
    elbv2.get_waiter("load_balancer_available").wait(LoadBalancerArns=[arn], WaiterConfig={"Delay": 1})
    return find(name, region)


def find(name: str, region: str | None = None) -> Front:
    elbv2 = boto3.client("elbv2", region_name=region)
    balancer = elbv2.describe_load_balancers(Names=[name])["LoadBalancers"][0]
    listener = elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"][0]
    return Front(
        name=name,
        arn=balancer["LoadBalancerArn"],
        group=listener["DefaultActions"][0]["TargetGroupArn"],
        listener=listener["ListenerArn"],
        address=balancer["AvailabilityZones"][0]["LoadBalancerAddresses"][0]["IpAddress"],
        port=listener["Port"],
    )


def targets(group: str, *wanted: dict, region: str | None = None) -> dict[tuple[str, int], tuple[str, str | None]]:
    """State and reason of each target, by instance and port."""
    elbv2 = boto3.client("elbv2", region_name=region)
    named = {"Targets": list(wanted)} if wanted else {}
    described = elbv2.describe_target_health(TargetGroupArn=group, **named)["TargetHealthDescriptions"]
    return {
        (one["Target"]["Id"], one["Target"]["Port"]): (one["TargetHealth"]["State"], one["TargetHealth"].get("Reason"))
        for one in described
    }


def wait_healthy(group: str, count: int, seconds: float = 60, region: str | None = None) -> None:
    """Until so many targets are healthy; raises TimeoutError with what was said last."""
    deadline = time.monotonic() + seconds
    while True:
        said = targets(group, region=region)
        if sum(state == "healthy" for state, _ in said.values()) >= count:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {count} healthy targets in {seconds} s: {said}")
        time.sleep(0.2)


def delete(name: str, region: str | None = None) -> None:
    """The balancer and the target group of that name, if there are any."""
    elbv2 = boto3.client("elbv2", region_name=region)
    for pages, key, arn, remove in (
        ("describe_load_balancers", "LoadBalancers", "LoadBalancerArn", elbv2.delete_load_balancer),
        ("describe_target_groups", "TargetGroups", "TargetGroupArn", elbv2.delete_target_group),
    ):
        name_key = "LoadBalancerName" if key == "LoadBalancers" else "TargetGroupName"
        for page in elbv2.get_paginator(pages).paginate():
            for one in page[key]:
                if one[name_key] == name:
                    remove(**{arn: one[arn]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("create", "show", "delete"))
    parser.add_argument("name")
    parser.add_argument("--kind", choices=("application", "network"), default="application")
    parser.add_argument("--port", type=int, default=80, help="where the balancer listens")
    parser.add_argument("--target-port", type=int, default=80)
    parser.add_argument("--path", default="/", help="of the health check")
    parser.add_argument("--draining", type=int, default=60, help="the deregistration delay in seconds")
    parser.add_argument("--stack", help="tags both with evenkeel:stack")
    parser.add_argument("--vpc")
    parser.add_argument("--region")
    given = parser.parse_args()
    if given.what == "delete":
        delete(given.name, given.region)
        return
    if given.what == "create":
        create(
            given.name, given.kind, given.port, given.target_port, given.path, draining=given.draining,
            stack=given.stack, region=given.region, vpc=given.vpc,
        )  # fmt: skip
    front = find(given.name, given.region)
    said = targets(front.group, region=given.region)
    shown = [{"id": i, "port": p, "state": state, "reason": reason} for (i, p), (state, reason) in said.items()]
    print(json.dumps({**asdict(front), "targets": shown}, indent=2))


if __name__ == "__main__":
    main()
