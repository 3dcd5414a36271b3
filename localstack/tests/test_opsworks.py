"""Validation and state changes of OpsWorks, over faked machines."""

import threading

import pytest

from conftest import until

ROLE = {"ServiceRoleArn": "arn:aws:iam::1:role/r", "DefaultInstanceProfileArn": "arn:aws:iam::1:instance-profile/p"}


@pytest.fixture
def stack(rooms) -> str:
    return rooms("CreateStack", Name="shop", Region="eu-central-1", DefaultRootDeviceType="ebs", **ROLE)["StackId"]


@pytest.fixture
def layer(rooms, stack) -> str:
    return rooms("CreateLayer", StackId=stack, Type="custom", Name="Docker", Shortname="docker")["LayerId"]


@pytest.fixture
def create(rooms, stack, layer):
    def make(**more) -> str:
        request = {"StackId": stack, "LayerIds": [layer], "InstanceType": "t3.medium", **more}
        return rooms("CreateInstance", **request)["InstanceId"]

    return make


def described(rooms, instance_id: str) -> dict:
    return rooms("DescribeInstances", InstanceIds=[instance_id])["Instances"][0]


def online(rooms, instance_id: str) -> str:
    rooms("StartInstance", InstanceId=instance_id)
    until(lambda: described(rooms, instance_id)["Status"] == "online", 5, 0.01)
    return described(rooms, instance_id)["Ec2InstanceId"]


def refused(code: str, words: str):
    class Refused:
        def __enter__(self):
            return self

        def __exit__(self, kind, error, trace):
            assert error is not None, "it was not refused"
            assert error.code == code and words in error.message, error.message
            return True

    return Refused()


def test_hostnames_follow_the_layer_and_are_unique_in_a_stack(rooms, create):
    assert [described(rooms, create())["Hostname"] for _ in range(2)] == ["docker1", "docker2"]
    with refused("ValidationException", 'hostname "docker1"'):
        create(Hostname="docker1")


def test_a_start_walks_through_every_state_in_order(rooms, create, monkeypatch):
    from evenkeel_testbed import machines

    may_launch, may_answer = threading.Event(), threading.Event()
    monkeypatch.setattr(machines, "launch", lambda machine: may_launch.wait(5))
    monkeypatch.setattr(machines, "wait_engine", lambda machine, wanted: may_answer.wait(5))
    instance_id = create()
    assert described(rooms, instance_id)["Status"] == "stopped"
    rooms("StartInstance", InstanceId=instance_id)
    assert described(rooms, instance_id)["Status"] == "requested"
    assert "Ec2InstanceId" not in described(rooms, instance_id)
    until(lambda: described(rooms, instance_id)["Status"] == "pending", 5, 0.002)
    assert described(rooms, instance_id)["Ec2InstanceId"].startswith("i-")
    assert "PrivateIp" not in described(rooms, instance_id)
    until(lambda: described(rooms, instance_id)["Status"] == "booting", 5, 0.002)
    assert described(rooms, instance_id)["PrivateIp"] == described(rooms, instance_id)["PublicIp"]
    may_launch.set()
    until(lambda: described(rooms, instance_id)["Status"] == "running_setup", 5, 0.002)
    may_answer.set()
    until(lambda: described(rooms, instance_id)["Status"] == "online", 5, 0.002)


def test_a_stop_interrupts_a_boot(rooms, create, monkeypatch):
    from evenkeel_testbed import machines

    def wait(machine, wanted):
        until(lambda: not wanted(), 5, 0.01)
        return False

    monkeypatch.setattr(machines, "wait_engine", wait)
    instance_id = create()
    rooms("StartInstance", InstanceId=instance_id)
    until(lambda: described(rooms, instance_id)["Status"] == "running_setup", 5, 0.002)
    rooms("StopInstance", InstanceId=instance_id)
    until(lambda: described(rooms, instance_id)["Status"] == "stopped", 5, 0.01)


def test_an_ebs_backed_instance_keeps_its_machine_over_a_stop_and_an_instance_store_backed_one_does_not(rooms, create):
    for kind, kept in (("ebs", True), ("instance-store", False)):
        instance_id = create(RootDeviceType=kind)
        first = online(rooms, instance_id)
        rooms("StopInstance", InstanceId=instance_id)
        until(lambda: described(rooms, instance_id)["Status"] == "stopped", 5, 0.01)
        assert (online(rooms, instance_id) == first) is kept


def test_a_launch_that_fails_says_why(rooms, create, monkeypatch):
    from evenkeel_testbed import machines

    def fail(machine):
        raise RuntimeError("InsufficientInstanceCapacity")

    monkeypatch.setattr(machines, "launch", fail)
    instance_id = create()
    rooms("StartInstance", InstanceId=instance_id)
    until(lambda: described(rooms, instance_id)["Status"] == "start_failed", 5, 0.01)
    errors = rooms("DescribeServiceErrors", InstanceId=instance_id)["ServiceErrors"]
    assert errors[0]["Message"] == "InsufficientInstanceCapacity"
    assert described(rooms, instance_id)["LastServiceErrorId"] == errors[0]["ServiceErrorId"]


def test_an_engine_that_never_answers_is_a_failed_setup(rooms, create, monkeypatch):
    from evenkeel_testbed import machines

    monkeypatch.setattr(machines, "wait_engine", lambda machine, wanted: False)
    instance_id = create()
    rooms("StartInstance", InstanceId=instance_id)
    until(lambda: described(rooms, instance_id)["Status"] == "setup_failed", 5, 0.01)


def test_a_machine_that_dies_is_a_lost_connection_until_it_is_back(rooms, create):
    from evenkeel_testbed import boot

    instance_id = create()
    ec2_id = online(rooms, instance_id)
    boot.machine_changed(ec2_id, running=False)
    assert described(rooms, instance_id)["Status"] == "connection_lost"
    boot.machine_changed(ec2_id, running=True)
    until(lambda: described(rooms, instance_id)["Status"] == "online", 5, 0.01)


def test_nothing_is_deleted_while_it_is_in_use(rooms, stack, layer, create):
    instance_id = create()
    online(rooms, instance_id)
    with refused("ValidationException", "please stop the instance first"):
        rooms("DeleteInstance", InstanceId=instance_id)
    with refused("ValidationException", "please delete its instances first"):
        rooms("DeleteLayer", LayerId=layer)
    with refused("ValidationException", "please delete its 1 instances first"):
        rooms("DeleteStack", StackId=stack)


def test_what_belongs_to_another_region_is_not_found(rooms, stack, layer):
    with refused("ResourceNotFoundException", f"Unable to find stack with ID {stack}"):
        rooms("DescribeStacks", region="us-west-2", StackIds=[stack])
    with refused("ResourceNotFoundException", f"Unable to find layer with ID {layer}"):
        rooms("UpdateLayer", region="us-west-2", LayerId=layer, Name="x")
    assert rooms("DescribeStacks", region="us-west-2") == {"Stacks": []}


def test_a_selector_is_needed_and_only_one(rooms, stack, layer):
    for request in ({}, {"StackId": stack, "LayerId": layer}):
        with refused("ValidationException", "Please provide either one or more instance IDs"):
            rooms("DescribeInstances", **request)


def test_values_outside_an_enum_are_refused(rooms, stack):
    with refused("ValidationException", "Value 'docker' at 'type' failed to satisfy constraint"):
        rooms("CreateLayer", StackId=stack, Type="docker", Name="D", Shortname="d")


def test_custom_json_must_be_an_object(rooms, stack):
    with refused("ValidationException", "custom JSON"):
        rooms("UpdateStack", StackId=stack, CustomJson="[1]")


def test_a_layer_has_one_balancer_and_online_instances_are_in_it(rooms, layer, create):
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}
    for name in ("shop", "other"):
        rooms("CreateLoadBalancer", LoadBalancerName=name, AvailabilityZones=["eu-central-1a"], Listeners=[listener])
    before = online(rooms, create())
    rooms("AttachElasticLoadBalancer", ElasticLoadBalancerName="shop", LayerId=layer)
    late = create()
    after = online(rooms, late)

    def members() -> set:
        found = rooms("DescribeLoadBalancers", LoadBalancerNames=["shop"])["LoadBalancerDescriptions"][0]
        return {instance["InstanceId"] for instance in found["Instances"]}

    until(lambda: members() == {before, after}, 5)
    with refused("ValidationException", "a layer can have only one"):
        rooms("AttachElasticLoadBalancer", ElasticLoadBalancerName="other", LayerId=layer)
    rooms("StopInstance", InstanceId=late)
    until(lambda: members() == {before}, 5)


def test_a_shutdown_can_wait_for_the_drain(rooms, layer, create):
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}
    rooms("CreateLoadBalancer", LoadBalancerName="shop", AvailabilityZones=["eu-central-1a"], Listeners=[listener])
    draining = {"ConnectionDraining": {"Enabled": True, "Timeout": 60}}
    rooms("ModifyLoadBalancerAttributes", LoadBalancerName="shop", LoadBalancerAttributes=draining)
    rooms(
        "UpdateLayer",
        LayerId=layer,
        LifecycleEventConfiguration={"Shutdown": {"DelayUntilElbConnectionsDrained": True}},
    )
    rooms("AttachElasticLoadBalancer", ElasticLoadBalancerName="shop", LayerId=layer)
    instance_id = create()
    ec2_id = online(rooms, instance_id)
    until(lambda: rooms("DescribeInstanceHealth", LoadBalancerName="shop")["InstanceStates"], 5)
    rooms.slots[1]["sessions"] = 1
    rooms("StopInstance", InstanceId=instance_id)
    with pytest.raises(AssertionError):
        until(lambda: described(rooms, instance_id)["Status"] != "stopping", 1.5)
    rooms.slots[1]["sessions"] = 0
    until(lambda: described(rooms, instance_id)["Status"] == "stopped", 5)
    assert ec2_id == described(rooms, instance_id)["Ec2InstanceId"]


def test_a_deployment_needs_an_online_instance_and_then_succeeds(rooms, stack, create):
    with refused("ValidationException", "at least an instance ID of one running instance"):
        rooms("CreateDeployment", StackId=stack, Command={"Name": "configure"})
    online(rooms, create())
    request = {"Command": {"Name": "execute_recipes", "Args": {"recipes": ["docker::cleanup"]}}}
    deployment_id = rooms("CreateDeployment", StackId=stack, **request)["DeploymentId"]

    def state() -> dict:
        return rooms("DescribeDeployments", DeploymentIds=[deployment_id])["Deployments"][0]

    assert state()["Status"] == "running"
    until(lambda: state()["Status"] == "successful", 5)
    assert state()["Command"] == request["Command"]
    commands = rooms("DescribeCommands", DeploymentId=deployment_id)["Commands"]
    assert [(c["Type"], c["Status"], c["ExitCode"]) for c in commands] == [("execute_recipes", "successful", 0)]
