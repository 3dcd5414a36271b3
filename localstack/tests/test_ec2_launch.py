"""RunInstances: tokens, what is refused, and what reads back, over machines that are pretended."""

import threading

import pytest

from conftest import REGION
from ec2_ground import ACCOUNT, VOLUME, cloud, encoded, tagged  # noqa: F401
from test_opsworks import refused


def test_the_same_token_and_parameters_are_the_same_instance(cloud):
    request = {"ClientToken": "shop/docker1/1", "TagSpecifications": tagged("instance", evenkeel__hostname="docker1")}
    first = cloud.launch(**request)
    again = cloud.launch(**request)
    assert first["InstanceId"] == again["InstanceId"]
    assert cloud.all() == [first["InstanceId"]]
    assert cloud.described(first["InstanceId"])["ClientToken"] == "shop/docker1/1"


def test_a_token_outlives_its_instance(cloud):
    instance_id = cloud.running(ClientToken="one")
    cloud("TerminateInstances", InstanceIds=[instance_id])
    cloud.reaches(instance_id, "terminated")
    again = cloud.launch(ClientToken="one")
    assert (again["InstanceId"], again["State"]["Name"]) == (instance_id, "terminated")
    assert cloud.all() == [instance_id]


def test_a_token_with_other_parameters_is_refused(cloud):
    cloud.launch(ClientToken="one")
    with refused("IdempotentParameterMismatch", "client token"):
        cloud.launch(ClientToken="one", InstanceType="t3.large")
    assert len(cloud.all()) == 1


def test_a_token_belongs_to_its_account_and_region(cloud):
    ids = {
        cloud.launch(ClientToken="one")["InstanceId"],
        cloud.launch(ClientToken="one", account="111111111111")["InstanceId"],
        cloud.launch(ClientToken="one", region="eu-west-1")["InstanceId"],
    }
    assert len(ids) == 3


def test_many_at_once_with_one_token_make_one_instance(cloud):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(cloud.launch(ClientToken="one")["InstanceId"])) for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16 and len(set(answers)) == 1


def test_a_launch_that_was_refused_leaves_its_token_unused(cloud):
    subnet = cloud.subnets()[0]["SubnetId"]
    with refused("InvalidParameterValue", "InstanceType"):
        cloud.launch(ClientToken="one", SubnetId=subnet, InstanceType="huge")
    assert cloud.launch(ClientToken="one", SubnetId=subnet)["State"]["Name"] == "pending"


@pytest.mark.parametrize(
    "wrong, code",
    [
        ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "my-image"}, "InvalidAMIID.Malformed"),
        ({"ImageId": "resolve:ssm:/no/such"}, "InvalidParameterValue"),
        ({"SubnetId": "subnet-00000000000000000"}, "InvalidSubnetID.NotFound"),
        ({"SecurityGroupIds": ["sg-00000000000000000"]}, "InvalidGroup.NotFound"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"UserData": "not base64!"}, "InvalidUserData.Malformed"),
        ({"UserData": encoded("x" * 16385)}, "InvalidParameterValue"),
        ({"MinCount": 2}, "InvalidParameterValue"),
        ({"IamInstanceProfile": {"Arn": "shop"}}, "InvalidParameterValue"),
        ({"BlockDeviceMappings": [VOLUME, VOLUME]}, "InvalidBlockDeviceMapping"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeType": "io1", "VolumeSize": 10}}]}, "MissingParameter"),
        ({"BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}]}, "InvalidBlockDeviceMapping"),
        ({"ClientToken": "x" * 65}, "InvalidParameterValue"),
    ],
)  # fmt: skip
def test_a_wrong_launch_makes_nothing(cloud, wrong, code):
    with refused(code, ""):
        cloud.launch(**wrong)
    assert cloud.all() == [] and cloud("DescribeVolumes")["Volumes"] == []


def test_what_was_asked_for_reads_back(cloud):
    cloud("CreateKeyPair", KeyName="ops", KeyType="ed25519")
    subnet = cloud.subnets()[1]
    group = cloud("CreateSecurityGroup", GroupName="web", Description="web", VpcId=subnet["VpcId"])["GroupId"]
    made = cloud.launch(
        SubnetId=subnet["SubnetId"], SecurityGroupIds=[group], KeyName="ops", UserData=encoded("#!/bin/sh\n"),
        IamInstanceProfile={"Name": "shop"}, BlockDeviceMappings=[VOLUME],
        MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "InstanceMetadataTags": "enabled"},
        TagSpecifications=tagged("instance", evenkeel__stack="shop") + tagged("volume", evenkeel__hostname="docker1"),
    )  # fmt: skip
    read = cloud.described(made["InstanceId"])
    assert read["Placement"]["AvailabilityZone"] == subnet["AvailabilityZone"] == f"{REGION}b"
    assert read["SecurityGroups"] == [{"GroupId": group, "GroupName": "web"}]
    assert read["IamInstanceProfile"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/shop"
    assert (read["MetadataOptions"]["HttpTokens"], read["MetadataOptions"]["HttpPutResponseHopLimit"]) == ("required", 1)
    assert read["Tags"] == [{"Key": "evenkeel:stack", "Value": "shop"}]
    assert read["PrivateIpAddress"] == made["PrivateIpAddress"]
    assert [m["DeviceName"] for m in read["BlockDeviceMappings"]] == ["/dev/xvda", "/dev/sdf"]
    volumes = cloud("DescribeVolumes", Filters=[{"Name": "tag:evenkeel:hostname", "Values": ["docker1"]}])["Volumes"]
    assert sorted((v["Size"], v["VolumeType"], v["Encrypted"], v["State"]) for v in volumes) == [
        (8, "gp3", False, "in-use"),
        (120, "gp3", True, "in-use"),
    ]


def test_an_image_can_be_named_by_a_parameter(cloud):
    cloud("PutParameter", Name="/shop/ami", Type="String", Value=cloud.image())
    assert cloud.launch(ImageId="resolve:ssm:/shop/ami")["ImageId"] == cloud.image()


def test_an_image_that_is_gone_starts_nothing(cloud):
    image = cloud.image()
    cloud("DeregisterImage", ImageId=image)
    with refused("InvalidAMIID.NotFound", image):
        cloud.launch(ImageId=image)
    with refused("InvalidAMIID.NotFound", image):
        cloud("DescribeImages", ImageIds=[image])
