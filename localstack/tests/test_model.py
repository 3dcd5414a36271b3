"""Every operation of the OpsWorks provider against botocore's model of it."""

import time

import pytest
from botocore.validate import ParamValidator
from localstack.aws.spec import load_service

from evenkeel_testbed import providers
from evenkeel_testbed.model import shaped
from samples import sample

OPSWORKS = load_service("opsworks")
FILTERED = "*****FILTERED*****"


@pytest.fixture
def world(rooms):
    """A stack with all that the operations can be asked about, instances online."""
    ids = type("Ids", (), {})()
    role = {"ServiceRoleArn": "arn:aws:iam::1:role/r", "DefaultInstanceProfileArn": "arn:aws:iam::1:instance-profile/p"}
    ids.stack = rooms("CreateStack", Name="shop", Region="eu-central-1", DefaultRootDeviceType="ebs", **role)["StackId"]
    ids.layer = rooms(
        "CreateLayer", StackId=ids.stack, Type="custom", Name="Docker", Shortname="docker",
        VolumeConfigurations=[{"MountPoint": "/var/lib/docker", "NumberOfDisks": 1, "Size": 120}],
    )["LayerId"]  # fmt: skip
    ids.app = rooms("CreateApp", StackId=ids.stack, Name="amazing application", Type="other")["AppId"]
    instance = {"StackId": ids.stack, "LayerIds": [ids.layer], "InstanceType": "t3.medium"}
    ids.online = rooms("CreateInstance", **instance)["InstanceId"]
    ids.stopped = rooms("CreateInstance", AutoScalingType="timer", **instance)["InstanceId"]
    rooms("StartInstance", InstanceId=ids.online)
    wait_for(rooms, ids.online, "online")
    ids.deployment = rooms("CreateDeployment", StackId=ids.stack, Command={"Name": "configure"})["DeploymentId"]
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}
    for name in ("shop", "spare"):
        rooms("CreateLoadBalancer", LoadBalancerName=name, AvailabilityZones=["eu-central-1a"], Listeners=[listener])
    rooms("AttachElasticLoadBalancer", ElasticLoadBalancerName="shop", LayerId=ids.layer)
    ids.rds = "arn:aws:rds:eu-central-1:000000000000:db:shop-db"
    rooms("RegisterRdsDbInstance", StackId=ids.stack, RdsDbInstanceArn=ids.rds, DbUser="u", DbPassword="p")
    ids.arn = rooms("DescribeStacks", StackIds=[ids.stack])["Stacks"][0]["Arn"]
    return ids


def wait_for(rooms, instance_id: str, status: str) -> None:
    deadline = time.monotonic() + 5
    while rooms("DescribeInstances", InstanceIds=[instance_id])["Instances"][0]["Status"] != status:
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Members of a sample request that need the id of something that exists, or cannot be given together.
FITTING = {
    "CreateInstance": lambda w: {"StackId": w.stack, "LayerIds": [w.layer]},
    "CreateLayer": lambda w: {"StackId": w.stack},
    "CreateApp": lambda w: {"StackId": w.stack},
    "CreateDeployment": lambda w: {"StackId": w.stack, "AppId": w.app, "InstanceIds": [w.online], "LayerIds": [w.layer]},
    "DescribeStacks": lambda w: {"StackIds": [w.stack]},
    "DescribeLayers": lambda w: {"LayerIds": [w.layer], "StackId": None},
    "DescribeApps": lambda w: {"AppIds": [w.app], "StackId": None},
    "DescribeInstances": lambda w: {"InstanceIds": [w.online], "StackId": None, "LayerId": None},
    "DescribeDeployments": lambda w: {"DeploymentIds": [w.deployment], "StackId": None, "AppId": None},
    "DescribeCommands": lambda w: {"DeploymentId": w.deployment, "InstanceId": None, "CommandIds": None},
    "DescribeElasticLoadBalancers": lambda w: {"StackId": w.stack, "LayerIds": None},
    "DescribeLoadBasedAutoScaling": lambda w: {"LayerIds": [w.layer]},
    "DescribeTimeBasedAutoScaling": lambda w: {"InstanceIds": [w.stopped]},
    "DescribeVolumes": lambda w: {"InstanceId": w.online, "StackId": None, "RaidArrayId": None, "VolumeIds": None},
    "DescribeServiceErrors": lambda w: {"InstanceId": w.online, "StackId": None, "ServiceErrorIds": None},
    "DescribeRdsDbInstances": lambda w: {"StackId": w.stack, "RdsDbInstanceArns": [w.rds]},
    "RegisterRdsDbInstance": lambda w: {
        "StackId": w.stack, "RdsDbInstanceArn": "arn:aws:rds:eu-central-1:000000000000:db:other",
    },
    "AttachElasticLoadBalancer": lambda w: {"ElasticLoadBalancerName": "shop", "LayerId": w.layer},
    "DetachElasticLoadBalancer": lambda w: {"ElasticLoadBalancerName": "shop", "LayerId": w.layer},
    "SetTimeBasedAutoScaling": lambda w: {
        "InstanceId": w.stopped, "AutoScalingSchedule": {"Monday": {"8": "on", "20": "off"}},
    },
    "TagResource": lambda w: {"ResourceArn": w.arn},
    "UntagResource": lambda w: {"ResourceArn": w.arn},
    "ListTags": lambda w: {"ResourceArn": w.arn, "MaxResults": None, "NextToken": None},
    "UpdateInstance": lambda w: {"InstanceId": w.stopped, "LayerIds": [w.layer]},
    "StartInstance": lambda w: {"InstanceId": w.stopped},
    "DeleteInstance": lambda w: {"InstanceId": w.stopped},
}  # fmt: skip
COMMON = {"StackId": "stack", "LayerId": "layer", "AppId": "app", "InstanceId": "online", "RdsDbInstanceArn": "rds"}


def request_for(operation, world) -> dict:
    request = sample(operation.input_shape)
    for member, attribute in COMMON.items():
        if member in request:
            request[member] = getattr(world, attribute)
    request.update(FITTING.get(operation.name, lambda w: {})(world))
    return {key: value for key, value in request.items() if value is not None}


def prepared(rooms, world, name: str) -> None:
    if name == "DeleteStack":
        prepared(rooms, world, "DeleteLayer")
        rooms("DeleteLayer", LayerId=world.layer)
        rooms("DeleteApp", AppId=world.app)
    elif name == "DeleteLayer":
        rooms("StopInstance", InstanceId=world.online)
        wait_for(rooms, world.online, "stopped")
        for instance_id in (world.online, world.stopped):
            rooms("DeleteInstance", InstanceId=instance_id)


@pytest.mark.parametrize("name", sorted(providers.OPSWORKS))
def test_an_operation_takes_every_member_of_its_model_and_answers_in_its_shape(name, rooms, world):
    operation = OPSWORKS.operation_model(name)
    request = request_for(operation, world)
    assert not ParamValidator().validate(request, operation.input_shape).has_errors()
    prepared(rooms, world, name)

    answer = rooms(name, **request)

    if operation.output_shape is None:
        assert answer == {}
        return
    assert not ParamValidator().validate(answer, operation.output_shape).has_errors()
    assert set(answer) <= set(operation.output_shape.members)
    for member in operation.output_shape.members:
        if member not in ("NextToken",):
            assert member in answer, f"{member} is missing"
    if name.startswith("Describe") and name not in ("DescribeServiceErrors", "DescribeStackSummary"):
        assert list(answer.values())[0], "nothing was described"


@pytest.mark.parametrize("name", sorted(providers.OPSWORKS))
def test_an_operation_refuses_a_request_without_its_required_members(name, rooms):
    operation = OPSWORKS.operation_model(name)
    for member in operation.input_shape.required_members:
        with pytest.raises(Exception, match="Member must not be null") as refused:
            rooms(name)
        assert refused.value.code == "ValidationException"
        assert member[0].lower() + member[1:] in refused.value.message


@pytest.mark.parametrize(
    "create, describe, id_name, listed",
    [
        ("CreateStack", "DescribeStacks", "StackId", "Stacks"),
        ("CreateLayer", "DescribeLayers", "LayerId", "Layers"),
        ("CreateApp", "DescribeApps", "AppId", "Apps"),
        ("CreateInstance", "DescribeInstances", "InstanceId", "Instances"),
    ],
)
def test_what_was_given_at_creation_reads_back(create, describe, id_name, listed, rooms, world):
    operation = OPSWORKS.operation_model(create)
    request = request_for(operation, world)
    resource_id = rooms(create, **request)[id_name]
    read = rooms(describe, **{f"{id_name}s": [resource_id]})[listed][0]
    shape = OPSWORKS.operation_model(describe).output_shape.members[listed].member
    for member, given in shaped(shape, request).items():
        assert read[member] == hidden(member, given), member


def hidden(member: str, given):
    """What AWS never gives back."""
    if member in ("CustomCookbooksSource", "AppSource"):
        return {**given, "Password": FILTERED, "SshKey": FILTERED}
    if member == "SslConfiguration":
        return {**given, "PrivateKey": FILTERED}
    if member == "Environment":
        return [{**variable, "Value": FILTERED} for variable in given]
    return given


@pytest.mark.parametrize("update", ["UpdateStack", "UpdateLayer", "UpdateApp", "UpdateInstance"])
def test_an_update_changes_what_it_names_and_nothing_else(update, rooms, world):
    kind = update.removeprefix("Update")
    id_name = f"{kind}Id"
    resource_id = {"Stack": world.stack, "Layer": world.layer, "App": world.app, "Instance": world.stopped}[kind]

    def read():
        return rooms(f"Describe{kind}s", **{f"{id_name}s": [resource_id]})[f"{kind}s"][0]

    before = read()
    request = {**request_for(OPSWORKS.operation_model(update), world), id_name: resource_id}
    rooms(update, **request)
    after = read()
    for member, value in after.items():
        expected = hidden(member, request[member]) if member in request else before[member]
        assert value == expected, member


def test_every_operation_that_the_provider_has_is_in_the_model():
    assert set(providers.OPSWORKS) <= set(OPSWORKS.operation_names)
    assert set(providers.ELB) <= set(load_service("elb").operation_names)
