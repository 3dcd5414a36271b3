"""The words of classic load balancers, over a faked HAProxy."""

import pytest

from conftest import until
from evenkeel_testbed import haproxy, health, machines
from test_opsworks import refused

LISTENER = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 8080}
IDS = ["i-00000000000000001", "i-00000000000000002"]


@pytest.fixture
def balancer(rooms) -> str:
    for number, ec2_id in enumerate(IDS):
        machines.save(machines.Machine(ec2_id, f"m{number}", f"m{number}", "eu-central-1", f"10.0.0.{number}", "running"))
    rooms("CreateLoadBalancer", LoadBalancerName="shop", AvailabilityZones=["eu-central-1a"], Listeners=[LISTENER])
    return "shop"


def say(rooms, *ids) -> list[tuple]:
    request = {"Instances": [{"InstanceId": i} for i in ids]} if ids else {}
    states = rooms("DescribeInstanceHealth", LoadBalancerName="shop", **request)["InstanceStates"]
    return [(s["State"], s["ReasonCode"], s["Description"]) for s in states]


def register(rooms, *ids) -> None:
    rooms("RegisterInstancesWithLoadBalancer", LoadBalancerName="shop", Instances=[{"InstanceId": i} for i in ids])


def deregister(rooms, *ids) -> None:
    rooms("DeregisterInstancesFromLoadBalancer", LoadBalancerName="shop", Instances=[{"InstanceId": i} for i in ids])


def drain_for(rooms, seconds: int) -> None:
    attributes = {"ConnectionDraining": {"Enabled": True, "Timeout": seconds}}
    rooms("ModifyLoadBalancerAttributes", LoadBalancerName="shop", LoadBalancerAttributes=attributes)


def test_an_instance_is_in_progress_then_in_service_then_failing(rooms, balancer):
    rooms.slots[1]["status"] = "DOWN"
    register(rooms, IDS[0])
    assert say(rooms) == [("OutOfService", "ELB", health.IN_PROGRESS)]
    rooms.slots[1]["status"] = "UP"
    assert say(rooms) == [("InService", "N/A", "N/A")]
    rooms.slots[1]["status"] = "DOWN"
    assert say(rooms) == [("OutOfService", "Instance", health.FAILED)]
    rooms.slots[1]["status"] = "DOWN 1/3"
    assert say(rooms) == [("OutOfService", "Instance", health.NOT_PASSED)]


def test_a_draining_instance_says_in_service_until_it_has_gone(rooms, balancer):
    drain_for(rooms, 60)
    register(rooms, *IDS)
    rooms.slots[1]["sessions"] = 1
    deregister(rooms, IDS[0])
    assert say(rooms, IDS[0]) == [("InService", "N/A", health.DEREGISTERING)]
    assert len(say(rooms)) == 2
    with pytest.raises(AssertionError):
        until(lambda: say(rooms, IDS[0])[0][0] == "OutOfService", 1.5)
    rooms.slots[1]["sessions"] = 0
    until(lambda: say(rooms, IDS[0]) == [("OutOfService", "Instance", health.NOT_REGISTERED)], 5)
    assert len(say(rooms)) == 1


def test_a_drain_ends_at_its_timeout_whatever_is_in_flight(rooms, balancer):
    drain_for(rooms, 1)
    register(rooms, IDS[0])
    rooms.slots[1]["sessions"] = 1
    deregister(rooms, IDS[0])
    until(lambda: say(rooms) == [], 3)


def test_registering_again_cancels_the_drain(rooms, balancer):
    drain_for(rooms, 2)
    register(rooms, IDS[0])
    rooms.slots[1]["sessions"] = 1
    deregister(rooms, IDS[0])
    register(rooms, IDS[0])
    with pytest.raises(AssertionError):
        until(lambda: say(rooms) != [("InService", "N/A", "N/A")], 2.5)


def test_without_draining_an_instance_is_out_at_once(rooms, balancer):
    register(rooms, IDS[0])
    deregister(rooms, IDS[0])
    assert say(rooms) == []


def test_unknown_instances_and_balancers_are_errors(rooms, balancer):
    with refused("InvalidInstance", "Could not find EC2 instance i-404."):
        say(rooms, "i-404")
    with refused("InvalidInstance", "i-404"):
        register(rooms, "i-404")
    with refused("LoadBalancerNotFound", "There is no ACTIVE Load Balancer named 'nope'"):
        rooms("DescribeLoadBalancers", LoadBalancerNames=["nope"])
    with refused("DuplicateLoadBalancerName", "shop"):
        rooms("CreateLoadBalancer", LoadBalancerName="shop", AvailabilityZones=["x"], Listeners=[LISTENER])


def test_draining_is_off_by_default(rooms, balancer):
    attributes = rooms("DescribeLoadBalancerAttributes", LoadBalancerName="shop")["LoadBalancerAttributes"]
    assert attributes["ConnectionDraining"] == {"Enabled": False, "Timeout": 300}
    assert attributes["ConnectionSettings"] == {"IdleTimeout": 60}


def test_balancers_are_paged(rooms, balancer):
    for name in ("a", "b", "c"):
        rooms("CreateLoadBalancer", LoadBalancerName=name, AvailabilityZones=["x"], Listeners=[LISTENER])
    names, marker = [], None
    while True:
        page = rooms("DescribeLoadBalancers", PageSize=2, **({"Marker": marker} if marker else {}))
        names += [b["LoadBalancerName"] for b in page["LoadBalancerDescriptions"]]
        marker = page.get("NextMarker")
        if not marker:
            break
    assert names == ["a", "b", "c", "shop"]


@pytest.mark.parametrize(
    "target, parsed",
    [("HTTP:80/up?x=1", ("HTTP", 80, "/up?x=1")), ("tcp:22", ("TCP", 22, "")), ("SSL:443", ("SSL", 443, ""))],
)
def test_health_check_targets(target, parsed):
    assert haproxy.parse_target(target) == parsed


@pytest.mark.parametrize("target", ["HTTP:80", "TCP:80/x", "UDP:1", "TCP:0", "TCP:x", ""])
def test_wrong_health_check_targets(target):
    with pytest.raises(ValueError):
        haproxy.parse_target(target)
