"""Load balancers of the second version over a faked HAProxy, as a client sees them."""

from types import SimpleNamespace

import pytest

from conftest import REGION
from evenkeel_testbed import haproxy, machines, network
from evenkeel_testbed.elbv2 import registration

IDS = ["i-00000000000000001", "i-00000000000000002"]
VPC = "vpc-1"
SUBNETS = ["subnet-a", "subnet-b"]


class Ground:
    """The API as a client sees it, with the targets' watcher called by hand."""

    def __init__(self, rooms):
        self.rooms = rooms
        self.slots = rooms.slots

    def __call__(self, operation: str, **request) -> dict:
        return self.rooms(f"elbv2:{operation}", **request)

    def balancer(self, name: str = "shop", kind: str = "application", **more) -> str:
        more = {"Subnets": SUBNETS, **more}
        return self("CreateLoadBalancer", Name=name, Type=kind, **more)["LoadBalancers"][0]["LoadBalancerArn"]

    def group(self, name: str = "shop", protocol: str = "HTTP", **more) -> str:
        more = {"Port": 80, "VpcId": VPC, **more}
        return self("CreateTargetGroup", Name=name, Protocol=protocol, **more)["TargetGroups"][0]["TargetGroupArn"]

    def listener(self, balancer: str, group: str, port: int = 80, protocol: str = "HTTP", **more) -> str:
        return self(
            "CreateListener", LoadBalancerArn=balancer, Port=port, Protocol=protocol, DefaultActions=forward(group), **more
        )["Listeners"][0]["ListenerArn"]

    def register(self, group: str, *targets) -> None:
        self("RegisterTargets", TargetGroupArn=group, Targets=[target(*t) for t in targets])

    def deregister(self, group: str, *targets) -> None:
        self("DeregisterTargets", TargetGroupArn=group, Targets=[target(*t) for t in targets])

    def health(self, group: str, *targets) -> list[tuple]:
        registration.step()
        request = {"Targets": [target(*t) for t in targets]} if targets else {}
        described = self("DescribeTargetHealth", TargetGroupArn=group, **request)["TargetHealthDescriptions"]
        return [(d["TargetHealth"]["State"], d["TargetHealth"].get("Reason")) for d in described]


def target(instance_id: str, port: int | None = None) -> dict:
    return {"Id": instance_id, **({"Port": port} if port else {})}


def forward(group: str) -> list[dict]:
    return [{"Type": "forward", "TargetGroupArn": group}]


@pytest.fixture
def ground(rooms, monkeypatch):
    where = {"subnet-a": ("a", VPC), "subnet-b": ("b", VPC), "subnet-b2": ("b", VPC), "subnet-other": ("a", "vpc-2")}

    def subnet(region, subnet_id):
        zone, vpc = where.get(subnet_id, (None, None))
        return {"SubnetId": subnet_id, "VpcId": vpc, "ZoneName": region + zone} if zone else None

    monkeypatch.setattr(network, "subnet", subnet)
    groups = {"sg-1": "web", "sg-default": "default"}
    monkeypatch.setattr(network, "security_groups", lambda region, vpc: groups if vpc == VPC else {})
    # Every configuration is made, though no process runs with it; each one has all pools filled afresh.
    monkeypatch.setattr(
        haproxy, "run", lambda record, render, pools: (render({}), {pool.checks for pool, _ in pools})[1]
    )
    for number, ec2_id in enumerate(IDS):
        machines.save(machines.Machine(ec2_id, f"m{number}", f"m{number}", REGION, f"10.0.0.{number}", "running"))
    for slot in rooms.slots.values():
        slot["code"] = ""
    return Ground(rooms)


@pytest.fixture
def shop(ground) -> SimpleNamespace:
    balancer, group = ground.balancer(), ground.group()
    return SimpleNamespace(balancer=balancer, group=group, listener=ground.listener(balancer, group))
