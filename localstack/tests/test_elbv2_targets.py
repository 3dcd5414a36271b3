"""How targets come and go, and what is said of them; and what else the proving ground promises of load balancers."""

import time

import pytest

from conftest import REGION, until
from elbv2_ground import IDS, VPC, ground, shop  # noqa: F401
from evenkeel_testbed import faults, haproxy, machines, network, store as stores, testbed
from evenkeel_testbed.elbv2 import clearing
from test_opsworks import refused


# Targets


def test_a_target_is_initial_then_healthy_after_one_check(ground, shop):
    testbed.store.tables["config"]["elb_registration_delay"] = 0.2
    ground.slots[1]["status"] = "DOWN"
    ground.register(shop.group, (IDS[0],))
    assert ground.health(shop.group) == [("initial", "Elb.RegistrationInProgress")]
    until(lambda: ground.health(shop.group) == [("initial", "Elb.InitialHealthChecking")], 2)
    accepted = []
    ground.slots[1]["status"] = "DOWN 1/5"

    def accept(pool, slot):
        accepted.append(slot)
        ground.slots[slot]["status"] = "UP"

    haproxy.accept = accept
    assert ground.health(shop.group) == [("healthy", None)]
    assert accepted == [1]
    # What has been healthy once has to pass as many checks as the group says.
    ground.slots[1]["status"] = "DOWN 1/5"
    assert ground.health(shop.group) == [("unhealthy", "Target.FailedHealthChecks")]
    assert accepted == [1]


@pytest.mark.parametrize(
    "check, code, reason, description",
    [
        ("L7STS", "503", "Target.ResponseCodeMismatch", "Health checks failed with these codes: [503]"),
        ("L7TOUT", "", "Target.Timeout", "Request timed out"),
        ("L4TOUT", "", "Target.Timeout", "Request timed out"),
        ("L4CON", "", "Target.FailedHealthChecks", "Health checks failed"),
    ],
)
def test_an_unhealthy_target_tells_why(ground, shop, check, code, reason, description):
    ground.register(shop.group, (IDS[0],))
    assert ground.health(shop.group) == [("healthy", None)]
    ground.slots[1].update(status="DOWN", check=check, code=code)
    described = ground("DescribeTargetHealth", TargetGroupArn=shop.group)["TargetHealthDescriptions"]
    assert described[0]["TargetHealth"] == {"State": "unhealthy", "Reason": reason, "Description": description}


def test_a_group_without_a_balancer_is_not_in_use(ground):
    group = ground.group()
    ground.register(group, (IDS[0],))
    assert ground.health(group) == [("unused", "Target.NotInUse")]
    ground.slots[1]["status"] = "DOWN"
    balancer = ground.balancer()
    ground.listener(balancer, group)
    assert ground.health(group) == [("initial", "Elb.InitialHealthChecking")]
    ground("DeleteLoadBalancer", LoadBalancerArn=balancer)
    assert ground.health(group) == [("unused", "Target.NotInUse")]
    ground.deregister(group, (IDS[0],))
    assert ground.health(group) == []


def test_a_target_drains_until_nothing_is_in_flight_and_is_gone(ground, shop):
    testbed.store.tables["config"]["drain_min"] = 0.3
    ground.register(shop.group, (IDS[0],), (IDS[1],))
    ground.slots[1]["sessions"] = 1
    ground.deregister(shop.group, (IDS[0],))
    draining = ("draining", "Target.DeregistrationInProgress")
    assert ground.health(shop.group, (IDS[0],)) == [draining]
    time.sleep(0.4)
    assert ground.health(shop.group) == [draining, ("healthy", None)]
    ground.slots[1]["sessions"] = 0
    assert ground.health(shop.group) == [("healthy", None)]
    assert ground.health(shop.group, (IDS[0],)) == [("unused", "Target.NotRegistered")]


def test_a_drain_is_not_shorter_than_asked(ground, shop):
    testbed.store.tables["config"]["drain_min"] = 30
    ground.register(shop.group, (IDS[0],))
    ground.deregister(shop.group, (IDS[0],))
    assert [state for state, _ in ground.health(shop.group)] == ["draining"]


def test_a_drain_can_be_shown_for_its_whole_delay(ground, shop):
    testbed.store.tables["config"].update(drain_min=0, drain_whole_delay=1)
    attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": "1"}
    ground("ModifyTargetGroupAttributes", TargetGroupArn=shop.group, Attributes=[attribute])
    ground.register(shop.group, (IDS[0],))
    ground.deregister(shop.group, (IDS[0],))
    began = time.monotonic()
    until(lambda: ground.health(shop.group) == [], 3)
    assert time.monotonic() - began > 0.8


def test_a_drain_ends_with_its_delay_whatever_is_in_flight(ground, shop):
    attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": "1"}
    ground("ModifyTargetGroupAttributes", TargetGroupArn=shop.group, Attributes=[attribute])
    ground.register(shop.group, (IDS[0],))
    ground.slots[1]["sessions"] = 1
    ground.deregister(shop.group, (IDS[0],))
    assert [state for state, _ in ground.health(shop.group)] == ["draining"]
    until(lambda: ground.health(shop.group) == [], 3)


def test_without_a_delay_a_target_is_out_at_once(ground, shop):
    attribute = {"Key": "deregistration_delay.timeout_seconds", "Value": "0"}
    ground("ModifyTargetGroupAttributes", TargetGroupArn=shop.group, Attributes=[attribute])
    ground.register(shop.group, (IDS[0],))
    ground.slots[1]["sessions"] = 1
    ground.deregister(shop.group, (IDS[0],))
    assert ground("DescribeTargetHealth", TargetGroupArn=shop.group)["TargetHealthDescriptions"] == []


def test_registering_a_draining_target_takes_it_back(ground, shop):
    testbed.store.tables["config"]["drain_min"] = 0
    ground.register(shop.group, (IDS[0],))
    assert ground.health(shop.group) == [("healthy", None)]
    ground.slots[1]["sessions"] = 1
    ground.deregister(shop.group, (IDS[0],))
    ground.slots[1]["status"] = "DOWN"
    ground.register(shop.group, (IDS[0],))
    ground.slots[1]["sessions"] = 0
    assert ground.health(shop.group) == [("initial", "Elb.InitialHealthChecking")]
    ground.slots[1]["status"] = "UP"
    assert ground.health(shop.group) == [("healthy", None)]


def test_a_failing_target_that_drains_can_say_so(ground, shop):
    ground.register(shop.group, (IDS[0],))
    ground.slots[1].update(status="DOWN", sessions=1)
    ground.deregister(shop.group, (IDS[0],))
    assert ground.health(shop.group) == [("draining", "Target.DeregistrationInProgress")]
    testbed.store.tables["config"]["unhealthy_draining"] = 1
    assert ground.health(shop.group) == [("unhealthy.draining", "Target.DeregistrationInProgress")]


def test_every_port_of_an_instance_is_a_target_of_its_own(ground, shop):
    ground.register(shop.group, (IDS[0],), (IDS[0], 8080), (IDS[0], 8081))
    ground.slots[2].update(status="DOWN", check="L4CON")
    testbed.store.tables["config"]["health_interval_override"] = 0.001
    described = lambda: {  # noqa: E731
        (d["Target"]["Port"], d["HealthCheckPort"]): d["TargetHealth"]["State"]
        for d in ground("DescribeTargetHealth", TargetGroupArn=shop.group)["TargetHealthDescriptions"]
    }
    until(lambda: described() == {(80, "80"): "healthy", (8080, "8080"): "unhealthy", (8081, "8081"): "healthy"}, 2)
    # Without the port it is the one on the group's own; one that is not registered is no error.
    ground.slots[1]["sessions"] = 1
    ground.deregister(shop.group, (IDS[0],), (IDS[0], 9999))
    assert ground.health(shop.group, (IDS[0],), (IDS[0], 8081)) == [
        ("draining", "Target.DeregistrationInProgress"), ("healthy", None),
    ]  # fmt: skip


def test_targets_that_cannot_be_are_refused(ground, shop):
    with refused("InvalidTarget", "i-404"):
        ground.register(shop.group, (IDS[0],), ("i-404",))
    with refused("InvalidTarget", "i-404"):
        ground.health(shop.group, ("i-404",))
    machines.set_state(IDS[0], "stopped")
    with refused("InvalidTarget", "not in a running state"):
        ground.register(shop.group, (IDS[0],))
    assert ground.health(shop.group) == []
    with refused("TargetGroupNotFound", "no-such"):
        ground.register("arn:aws:elasticloadbalancing:x:0:targetgroup/no-such/1", (IDS[0],))


def test_a_target_of_another_vpc_is_refused(ground, shop):
    tables = testbed.store.tables
    tables["stacks"]["s"] = {"StackId": "s", "VpcId": "vpc-2"}
    tables["instances"]["i"] = {"InstanceId": "i", "StackId": "s", "Ec2InstanceId": IDS[0]}
    with refused("InvalidTarget", f"not in the target group VPC '{VPC}': '{IDS[0]}'"):
        ground.register(shop.group, (IDS[0],))
    tables["stacks"]["s"]["VpcId"] = VPC
    ground.register(shop.group, (IDS[0],))


def test_a_stopped_instance_is_unused_and_begins_again_when_it_runs(ground, shop):
    ground.register(shop.group, (IDS[0],))
    assert ground.health(shop.group) == [("healthy", None)]
    machines.set_state(IDS[0], "stopped")
    ground.slots[1]["status"] = "DOWN"
    assert ground.health(shop.group) == [("unused", "Target.InvalidState")]
    machines.set_state(IDS[0], "running")
    assert ground.health(shop.group) == [("initial", "Elb.InitialHealthChecking")]


def test_a_terminated_instance_is_deregistered_after_a_while(ground, shop):
    testbed.store.tables["config"]["elb_terminated_delay"] = 0.3
    ground.register(shop.group, (IDS[0],), (IDS[1],))
    machines.set_state(IDS[0], "terminated")
    with testbed.store.change() as tables:
        del tables["machines"][IDS[1]]
    assert ground.health(shop.group) == [("unused", "Target.InvalidState")] * 2
    until(lambda: ground.health(shop.group) == [], 2)


def test_a_group_takes_as_many_targets_as_there_are_slots(ground, shop):
    ground.register(shop.group, *[(IDS[0], port) for port in range(1, haproxy.SLOTS + 1)])
    with refused("TooManyTargets", str(haproxy.SLOTS)):
        ground.register(shop.group, (IDS[1],))


def test_an_instance_of_ec2_is_where_it_was_launched(ground, shop, monkeypatch):
    monkeypatch.setitem(testbed.store.tables, "ec2_instances", {IDS[0]: {"VpcId": "vpc-2"}, IDS[1]: {"VpcId": VPC}})
    ground.register(shop.group, (IDS[1],))
    with refused("InvalidTarget", IDS[0]):
        ground.register(shop.group, (IDS[0],))


def test_subnets_and_groups_are_those_of_the_account_and_region(rooms, monkeypatch):
    here = {"_account": testbed.ACCOUNT, "_region": REGION, "VpcId": VPC}
    subnet = {**here, "AvailabilityZone": "z"}
    subnets = {
        "subnet-1": {**subnet, "SubnetId": "subnet-1"},
        "subnet-2": {**subnet, "SubnetId": "subnet-2", "_account": "1"},
    }
    monkeypatch.setitem(testbed.store.tables, "ec2_subnets", subnets)
    monkeypatch.setitem(
        testbed.store.tables, "ec2_security_groups", {"sg-1": {**here, "GroupId": "sg-1", "GroupName": "web"}}
    )
    assert network.subnet(REGION, "subnet-1") == {"SubnetId": "subnet-1", "VpcId": VPC, "ZoneName": "z"}
    assert network.subnet(REGION, "subnet-2") is None
    assert network.subnet("us-east-1", "subnet-1") is None
    assert network.security_groups(REGION, VPC) == {"sg-1": "web"}
    assert network.security_groups(REGION, "vpc-2") == {}


# The proving ground's own


def test_everything_outlives_a_restart(ground, shop):
    ground.register(shop.group, (IDS[0], 8080))
    ground.slots[1]["sessions"] = 1
    ground.deregister(shop.group, (IDS[0], 8080))
    before = {table: testbed.store.tables[table] for table in stores.TABLES}
    again = stores.Store(testbed.store.path)
    again.load()
    assert again.tables == before
    testbed.store.tables = again.tables
    assert ground.health(shop.group) == [("draining", "Target.DeregistrationInProgress")]


def test_a_reset_takes_what_bears_the_stack_s_tag(ground, shop):
    tag = [{"Key": "evenkeel:stack", "Value": "docks"}]
    ground.balancer("docks", Tags=tag)
    ground.group("docks", Tags=tag)
    with testbed.store.change() as tables:
        assert clearing.clear(tables, "docks") == 2
        assert clearing.clear(tables, "docks") == 0
    assert [b["LoadBalancerName"] for b in ground("DescribeLoadBalancers")["LoadBalancers"]] == ["shop"]
    with testbed.store.change() as tables:
        assert clearing.clear(tables, None) == 2
    assert ground("DescribeTargetGroups")["TargetGroups"] == []


def test_reads_lag_behind_registrations(ground, shop, monkeypatch):
    monkeypatch.setattr(faults, "lag", lambda service, region: 30 if service == "elbv2" else 0)
    late = ground.group("late")
    with refused("TargetGroupNotFound", "late"):
        ground("DescribeTargetGroups", TargetGroupArns=[late])
