"""Instances as EC2's API tells of them: states, pages, filters, accounts, over machines that are pretended."""

import threading
import time
from types import SimpleNamespace

import pytest

from conftest import REGION, until
from ec2_ground import VOLUME, cloud, tagged  # noqa: F401
from evenkeel_testbed import faults, machines, testbed
from evenkeel_testbed.ec2 import containers, life, status
from evenkeel_testbed.store import Store
from test_opsworks import refused


@pytest.fixture(autouse=True)
def no_faults():
    yield
    faults.faults.remove()


def test_a_start_walks_through_every_state_in_order(cloud, monkeypatch):
    may_start, may_stop = threading.Event(), threading.Event()
    monkeypatch.setattr(containers, "start", lambda machine, hop_limit=1: may_start.wait(5))
    monkeypatch.setattr(containers, "stop", lambda machine: may_stop.wait(5))
    monkeypatch.setattr(machines, "terminate", lambda machine, delete_volumes: may_stop.wait(5))
    instance_id = cloud.launch()["InstanceId"]
    assert cloud.state(instance_id) == "pending"
    may_start.set()
    cloud.reaches(instance_id, "running")
    assert cloud.described(instance_id)["PublicIpAddress"] == cloud.described(instance_id)["PrivateIpAddress"]
    change = cloud("StopInstances", InstanceIds=[instance_id])["StoppingInstances"][0]
    assert (change["PreviousState"]["Name"], change["CurrentState"]["Name"]) == ("running", "stopping")
    with refused("IncorrectInstanceState", instance_id):
        cloud("StartInstances", InstanceIds=[instance_id])
    may_stop.set()
    cloud.reaches(instance_id, "stopped")
    assert "PublicIpAddress" not in cloud.described(instance_id)
    cloud("StartInstances", InstanceIds=[instance_id])
    cloud.reaches(instance_id, "running")
    may_stop.clear()
    cloud("TerminateInstances", InstanceIds=[instance_id])
    assert cloud.state(instance_id) == "shutting-down"
    may_stop.set()
    cloud.reaches(instance_id, "terminated")
    gone = cloud.described(instance_id)
    assert gone["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert "PrivateIpAddress" not in gone


def test_terminating_twice_succeeds_and_a_terminated_instance_cannot_be_started(cloud):
    instance_id = cloud.running()
    for _ in range(2):
        cloud("TerminateInstances", InstanceIds=[instance_id])
        cloud.reaches(instance_id, "terminated")
    with refused("IncorrectInstanceState", instance_id):
        cloud("StartInstances", InstanceIds=[instance_id])


def test_a_termination_interrupts_a_launch(cloud):
    testbed.store.tables["config"]["state_delay"] = 5
    instance_id = cloud.launch()["InstanceId"]
    testbed.store.tables["config"]["state_delay"] = 0.02
    cloud("TerminateInstances", InstanceIds=[instance_id])
    cloud.reaches(instance_id, "terminated")


def test_all_named_instances_change_or_none(cloud):
    running, pending = cloud.running(), None
    testbed.store.tables["config"]["state_delay"] = 5
    pending = cloud.launch()["InstanceId"]
    with refused("IncorrectInstanceState", pending):
        cloud("StopInstances", InstanceIds=[running, pending])
    with refused("InvalidInstanceID.NotFound", "i-00000000000000000"):
        cloud("StopInstances", InstanceIds=[running, "i-00000000000000000"])
    assert cloud.state(running) == "running"


def test_a_protected_instance_is_not_terminated(cloud):
    instance_id = cloud.running(DisableApiTermination=True)
    with refused("OperationNotPermitted", "disableApiTermination"):
        cloud("TerminateInstances", InstanceIds=[instance_id])
    cloud("ModifyInstanceAttribute", InstanceId=instance_id, DisableApiTermination={"Value": False})
    cloud("TerminateInstances", InstanceIds=[instance_id])
    cloud.reaches(instance_id, "terminated")


def test_a_launch_that_fails_ends_terminated_and_says_why(cloud, monkeypatch):
    def fail(machine, hop_limit=1):
        raise RuntimeError("no such image")

    monkeypatch.setattr(containers, "start", fail)
    instance_id = cloud.launch(BlockDeviceMappings=[VOLUME])["InstanceId"]
    cloud.reaches(instance_id, "terminated")
    assert cloud.described(instance_id)["StateReason"]["Code"] == "Server.InternalError"
    assert cloud("DescribeVolumes")["Volumes"] == []


def test_a_fault_can_make_one_launch_fail(cloud):
    faults.faults.add({"service": "machine", "operation": "launch", "match": "docker2", "error": "x"})
    first = cloud.launch(TagSpecifications=tagged("instance", evenkeel__hostname="docker1"))["InstanceId"]
    second = cloud.launch(TagSpecifications=tagged("instance", evenkeel__hostname="docker2"))["InstanceId"]
    cloud.reaches(second, "terminated")
    cloud.reaches(first, "running")


def test_terminated_instances_stay_listed_for_a_while(cloud):
    instance_id = cloud.running()
    cloud("TerminateInstances", InstanceIds=[instance_id])
    cloud.reaches(instance_id, "terminated")
    assert cloud.all() == [instance_id]
    testbed.store.tables["config"]["terminated_visible"] = 0
    assert cloud.all() == []
    with refused("InvalidInstanceID.NotFound", instance_id):
        cloud.described(instance_id)


def test_pages_cover_everything_once(cloud):
    ids = sorted(cloud.launch()["InstanceId"] for _ in range(7))
    seen, token = [], {}
    while True:
        answer = cloud("DescribeInstances", MaxResults=5, **token)
        page = [i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"]]
        assert len(page) <= 5
        seen += page
        if not answer.get("NextToken"):
            break
        token = {"NextToken": answer["NextToken"]}
    assert seen == ids


def test_pages_can_be_smaller_than_was_asked_for(cloud):
    faults.faults.add({"service": "ec2", "region": REGION, "page": 2})
    faults.faults.add({"service": "ec2", "region": "eu-west-3", "page": 1})
    for _ in range(3):
        cloud.launch()
    assert len(cloud.all(MaxResults=100)) == 2
    assert len(cloud.all()) == 3, "without MaxResults there are no pages"


def test_wrong_pages_are_refused(cloud):
    instance_id = cloud.launch()["InstanceId"]
    with refused("InvalidParameterValue", "maxResults"):
        cloud("DescribeInstances", MaxResults=4)
    with refused("InvalidParameterCombination", "maxResults"):
        cloud("DescribeInstances", MaxResults=5, InstanceIds=[instance_id])
    with refused("InvalidNextToken", ""):
        cloud("DescribeInstances", MaxResults=5, NextToken="@")


def test_filters_are_joined_by_and_their_values_by_or(cloud):
    one = cloud.running(TagSpecifications=tagged("instance", evenkeel__stack="shop", role="web"), ClientToken="t-1")
    two = cloud.running(TagSpecifications=tagged("instance", evenkeel__stack="shop"))
    three = cloud.running(TagSpecifications=tagged("instance", evenkeel__stack="shipping"))

    def found(**filters) -> list[str]:
        return cloud.all(Filters=[{"Name": name, "Values": values} for name, values in filters.items()])

    assert found(**{"tag:evenkeel:stack": ["shop"]}) == sorted([one, two])
    assert found(**{"tag:evenkeel:stack": ["sh?p*"]}) == sorted([one, two, three])
    assert found(**{"tag:evenkeel:stack": ["sh\\?p"]}) == []
    assert found(**{"tag-key": ["role"]}) == [one]
    assert found(**{"tag:evenkeel:stack": ["shop", "shipping"], "tag-key": ["role"]}) == [one]
    assert found(**{"client-token": ["t-1"]}) == [one]
    cloud("TerminateInstances", InstanceIds=[two])
    cloud.reaches(two, "terminated")
    assert found(**{"instance-state-name": ["pending", "running"]}) == sorted([one, three])
    assert found(**{"instance-id": [two]}) == [two]
    assert found(**{"vpc-id": [cloud.described(one)["VpcId"]]}) == sorted([one, three])
    with refused("InvalidParameterValue", "The filter 'hostname' is invalid"):
        found(hostname=["x"])


def test_unknown_and_malformed_ids_are_errors(cloud):
    with refused("InvalidInstanceID.NotFound", "The instance ID 'i-00000000000000000' does not exist"):
        cloud("DescribeInstances", InstanceIds=["i-00000000000000000"])
    with refused("InvalidInstanceID.NotFound", "The instance IDs"):
        cloud("DescribeInstances", InstanceIds=["i-00000000000000000", "i-00000000000000001"])
    with refused("InvalidInstanceID.Malformed", "docker1"):
        cloud("DescribeInstances", InstanceIds=["docker1"])


def test_accounts_and_regions_see_their_own_only(cloud):
    own = cloud.launch()["InstanceId"]
    other = cloud.launch(account="111111111111")["InstanceId"]
    assert cloud.all() == [own]
    assert cloud.all(account="111111111111") == [other]
    assert cloud.all(account="111111111111", region="eu-west-1") == []
    with refused("InvalidInstanceID.NotFound", own):
        cloud("TerminateInstances", account="111111111111", InstanceIds=[own])
    with refused("InvalidSubnetID.NotFound", ""):
        cloud.launch(account="111111111111", SubnetId=cloud.subnets()[0]["SubnetId"])
    assert cloud.subnets() == cloud.subnets(), "an account's subnets are the same each time"
    assert cloud.subnets()[0]["SubnetId"] != cloud.subnets(account="111111111111")[0]["SubnetId"]


def test_a_subnet_runs_out_of_addresses_and_has_them_again(cloud):
    from evenkeel_testbed.ec2 import network

    subnet = cloud.subnets()[0]
    with testbed.store.change() as tables:
        network.set_free_addresses(tables, tables["ec2_subnets"][subnet["SubnetId"]], 1)
    first = cloud.running(SubnetId=subnet["SubnetId"])
    assert cloud.subnets()[0]["AvailableIpAddressCount"] == 0
    with refused("InsufficientFreeAddressesInSubnet", subnet["SubnetId"]):
        cloud.launch(SubnetId=subnet["SubnetId"])
    cloud.launch(SubnetId=cloud.subnets()[1]["SubnetId"])
    cloud("TerminateInstances", InstanceIds=[first])
    cloud.reaches(first, "terminated")
    assert cloud.launch(SubnetId=subnet["SubnetId"])["SubnetId"] == subnet["SubnetId"]


def test_addresses_are_of_the_subnet_and_nobody_elses(cloud):
    import ipaddress

    for subnet in cloud.subnets():
        addresses = [cloud.launch(SubnetId=subnet["SubnetId"])["PrivateIpAddress"] for _ in range(3)]
        assert len(set(addresses)) == 3
        assert all(ipaddress.ip_address(a) in ipaddress.ip_network(subnet["CidrBlock"]) for a in addresses)


def test_groups_of_another_vpc_do_not_fit(cloud):
    vpc = cloud("CreateVpc", CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    subnet = cloud("CreateSubnet", VpcId=vpc, CidrBlock="10.99.1.0/24", AvailabilityZone=f"{REGION}c")["Subnet"]
    group = cloud("CreateSecurityGroup", GroupName="web", Description="web", VpcId=vpc)["GroupId"]
    with refused("InvalidParameter", "belong to different networks"):
        cloud.launch(SecurityGroupIds=[group])
    instance_id = cloud.launch(SubnetId=subnet["SubnetId"], SecurityGroupIds=[group])["InstanceId"]
    assert cloud.described(instance_id)["VpcId"] == vpc
    with refused("DependencyViolation", group):
        cloud("DeleteSecurityGroup", GroupId=group)


def test_security_groups_of_a_running_instance_can_be_changed(cloud):
    instance_id = cloud.running()
    group = cloud("CreateSecurityGroup", GroupName="web", Description="web")["GroupId"]
    cloud("ModifyInstanceAttribute", InstanceId=instance_id, Groups=[group])
    assert cloud.described(instance_id)["SecurityGroups"] == [{"GroupId": group, "GroupName": "web"}]


def test_status_checks_begin_and_pass_and_can_be_said_to_fail(cloud):
    testbed.store.tables["config"]["status_check_delay"] = 0.3
    instance_id = cloud.running()

    def checks() -> tuple:
        found = cloud("DescribeInstanceStatus", InstanceIds=[instance_id])["InstanceStatuses"]
        return tuple(found[0][f"{check}Status"]["Status"] for check in ("System", "Instance")) if found else ()

    assert checks() == ("initializing", "initializing")
    until(lambda: checks() == ("ok", "ok"), 3, 0.01)
    status.tell(instance_id, {"system": "impaired"})
    assert checks() == ("impaired", "ok")
    status.tell(instance_id, {"system": None})
    assert checks() == ("ok", "ok")
    cloud("StopInstances", InstanceIds=[instance_id])
    cloud.reaches(instance_id, "stopped")
    assert checks() == ()
    everything = cloud("DescribeInstanceStatus", IncludeAllInstances=True)["InstanceStatuses"]
    assert [(s["InstanceState"]["Name"], s["InstanceStatus"]["Status"]) for s in everything] == [("stopped", "not-applicable")]
    with pytest.raises(ValueError):
        status.tell(instance_id, {"system": "bad"})


def test_a_machine_that_is_gone_is_running_and_impaired(cloud, monkeypatch):
    testbed.store.tables["config"].update(status_check_delay=0, impaired_after=0.2)
    instance_id = cloud.running()
    monkeypatch.setitem(status._unreachable, instance_id, time.time())
    shown = lambda: cloud("DescribeInstanceStatus", InstanceIds=[instance_id])["InstanceStatuses"][0]["InstanceStatus"]  # noqa: E731
    assert shown()["Status"] == "ok"
    until(lambda: shown()["Status"] == "impaired", 3, 0.01)
    assert shown()["Details"][0]["Status"] == "failed" and shown()["Details"][0]["ImpairedSince"]
    assert cloud.state(instance_id) == "running"


def test_reads_lag_behind_a_launch(cloud):
    cloud.launch()
    ids = cloud.all()
    faults.faults.add({"service": "ec2", "region": REGION, "lag": 0.6})
    instance_id = cloud.launch(ClientToken="one")["InstanceId"]
    assert cloud.all() == ids
    with refused("InvalidInstanceID.NotFound", instance_id):
        cloud.described(instance_id)
    assert cloud.launch(ClientToken="one")["InstanceId"] == instance_id, "a write sees what was written"
    until(lambda: instance_id in cloud.all(), 5, 0.02)


def test_everything_is_there_again_after_a_restart(cloud):
    instance_id = cloud.running(ClientToken="one", BlockDeviceMappings=[VOLUME])
    cloud("PutParameter", Name="/shop/key", Type="SecureString", Value="secret")
    before = (cloud.described(instance_id), cloud("DescribeVolumes"))
    again = Store(testbed.store.path)
    again.load()
    testbed.store.tables = again.tables
    assert (cloud.described(instance_id), cloud("DescribeVolumes")) == before
    assert cloud.launch(ClientToken="one", BlockDeviceMappings=[VOLUME])["InstanceId"] == instance_id
    assert cloud("GetParameter", Name="/shop/key", WithDecryption=True)["Parameter"]["Value"] == "secret"


def test_a_walk_that_was_interrupted_is_resumed(cloud):
    with pytest.MonkeyPatch.context() as crashed:
        crashed.setattr(life, "go", lambda instance_id: None)
        instance_id = cloud.launch()["InstanceId"]
    assert cloud.state(instance_id) == "pending"
    life.resume()
    cloud.reaches(instance_id, "running")


def test_tags_are_put_on_taken_off_and_found(cloud):
    instance_id = cloud.running(TagSpecifications=tagged("instance", a="1", b="2"))
    cloud("CreateTags", Resources=[instance_id], Tags=[{"Key": "a", "Value": "3"}, {"Key": "c"}])
    cloud("DeleteTags", Resources=[instance_id], Tags=[{"Key": "b", "Value": "other"}, {"Key": "c"}])
    own = [{"Name": "resource-id", "Values": [instance_id]}]
    found = cloud("DescribeTags", Filters=own)["Tags"]
    assert [(t["Key"], t["Value"], t["ResourceType"]) for t in found] == [("a", "3", "instance"), ("b", "2", "instance")]
    assert cloud("DescribeTags", Filters=[{"Name": "tag:a", "Values": ["*"]}])["Tags"] == found[:1]
    with refused("InvalidParameterValue", "aws:"):
        cloud("CreateTags", Resources=[instance_id], Tags=[{"Key": "aws:x", "Value": ""}])
    with refused("InvalidInstanceID.NotFound", ""):
        cloud("CreateTags", Resources=[instance_id, "i-00000000000000000"], Tags=[{"Key": "d", "Value": ""}])
    many = [{"Key": f"k{n}", "Value": ""} for n in range(49)]
    with refused("TagLimitExceeded", "50"):
        cloud("CreateTags", Resources=[instance_id], Tags=many)
    assert len(cloud.described(instance_id)["Tags"]) == 2


def test_a_dry_run_does_nothing(cloud):
    with refused("DryRunOperation", "would have succeeded"):
        cloud.launch(DryRun=True)
    assert cloud.all() == []


def test_a_stack_is_cleared_and_no_other(cloud):
    from evenkeel_testbed import clearing

    shop = cloud.running(TagSpecifications=tagged("instance", evenkeel__stack="shop"), ClientToken="one")
    other = cloud.running(TagSpecifications=tagged("instance", evenkeel__stack="other"), BlockDeviceMappings=[VOLUME])
    loose = cloud(
        "CreateVolume", AvailabilityZone=f"{REGION}a", Size=1, TagSpecifications=tagged("volume", evenkeel__stack="shop")
    )["VolumeId"]
    clearing.reset("shop")
    assert cloud.all() == [other]
    assert loose not in [v["VolumeId"] for v in cloud("DescribeVolumes")["Volumes"]]
    assert len(cloud("DescribeVolumes")["Volumes"]) == 2
    assert cloud.launch(ClientToken="one")["InstanceId"] != shop
    with pytest.raises(LookupError):
        clearing.reset("shop")
    clearing.reset(None)
    assert cloud.all() == [] and cloud("DescribeVolumes")["Volumes"] == []


def test_an_engine_that_fetches_its_certificate_is_given_none_by_hand(cloud):
    from evenkeel_testbed import control

    instance_id = cloud.running()
    with pytest.raises(ValueError, match="fetches its certificate whenever it starts"):
        control.on_tls(SimpleNamespace(get_data=lambda: b'{"ca": "rogue"}'), instance_id)
