"""What instances live among: parameters, metadata, signatures, networks, images, keys."""

import json
from types import SimpleNamespace

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from localstack.aws.accounts import get_account_id_from_access_key_id
from werkzeug.datastructures import Headers

from conftest import REGION
from ec2_ground import ACCOUNT, AL2023, cloud, encoded, tagged  # noqa: F401
from evenkeel_testbed import testbed
from evenkeel_testbed.calls import masked
from evenkeel_testbed.ec2 import credentials, metadata, signatures
from test_opsworks import refused


def put(cloud, **more) -> dict:
    return cloud("PutParameter", **{"Name": "/shop/key", "Value": "secret", "Type": "SecureString", **more})


def value(cloud, name: str = "/shop/key", **more) -> str:
    return cloud("GetParameter", Name=name, **more)["Parameter"]["Value"]


def test_a_secure_string_is_told_only_when_it_is_to_be_decrypted(cloud):
    put(cloud)
    assert value(cloud, WithDecryption=True) == "secret"
    assert "secret" not in value(cloud)
    assert value(cloud, AL2023) == value(cloud, AL2023, WithDecryption=True)


def test_a_parameter_is_overwritten_only_on_request(cloud):
    assert put(cloud)["Version"] == 1
    with refused("ParameterAlreadyExists", "already exists"):
        put(cloud)
    assert put(cloud, Value="other", Overwrite=True)["Version"] == 2
    assert value(cloud, WithDecryption=True) == "other"
    assert value(cloud, "/shop/key:2", WithDecryption=True) == "other"
    with refused("ParameterNotFound", ""):
        value(cloud, "/shop/key:1")


def test_parameters_belong_to_an_account_and_region(cloud):
    put(cloud)
    for where in ({"account": "111111111111"}, {"region": "eu-west-1"}):
        with refused("ParameterNotFound", "/shop/key"):
            value(cloud, **where)


@pytest.mark.parametrize(
    "wrong",
    [{"Value": "x" * 4097}, {"Name": "/aws/x"}, {"Name": "/shop/a b"}, {"Type": None},
     {"Overwrite": True, "Tags": [{"Key": "a", "Value": "b"}]}],
)  # fmt: skip
def test_wrong_parameters_are_refused(cloud, wrong):
    with refused("ValidationException", ""):
        put(cloud, **wrong)


def test_several_parameters_at_once_and_those_that_are_not_there(cloud):
    put(cloud)
    answer = cloud("GetParameters", Names=["/shop/key", "/shop/no"], WithDecryption=True)
    assert [p["Value"] for p in answer["Parameters"]] == ["secret"]
    assert answer["InvalidParameters"] == ["/shop/no"]
    assert cloud("DeleteParameters", Names=["/shop/key", "/shop/no"])["InvalidParameters"] == ["/shop/no"]
    with refused("ParameterNotFound", "/shop/key"):
        cloud("DeleteParameter", Name="/shop/key")


def test_parameters_are_listed_by_path_and_by_tag_page_by_page(cloud):
    for number in range(12):
        put(cloud, Name=f"/shop/engines/{number:02}", Tags=[{"Key": "evenkeel:stack", "Value": "shop"}])
    by_tag = {"ParameterFilters": [{"Key": "tag:evenkeel:stack", "Values": ["shop"]}]}
    for operation, request in (("GetParametersByPath", {"Path": "/shop", "Recursive": True}), ("DescribeParameters", by_tag)):
        first = cloud(operation, **request)
        rest = cloud(operation, NextToken=first["NextToken"], **request)
        assert len(first["Parameters"]) == 10 and len(rest["Parameters"]) == 2 and "NextToken" not in rest
    assert cloud("GetParametersByPath", Path="/shop")["Parameters"] == []
    tags = cloud("ListTagsForResource", ResourceType="Parameter", ResourceId="/shop/engines/00")["TagList"]
    assert tags == [{"Key": "evenkeel:stack", "Value": "shop"}]


def test_secrets_are_masked_in_the_list_of_calls_and_client_tokens_are_not():
    seen = masked({"Type": "SecureString", "Value": "secret", "ClientToken": "one", "UserData": "x"})
    assert seen == {"Type": "SecureString", "Value": "*****", "ClientToken": "one", "UserData": "*****"}


def instance(cloud, **more) -> dict:
    instance_id = cloud.running(IamInstanceProfile={"Name": "shop"}, **more)
    return testbed.store.tables["ec2_instances"][instance_id]


def test_metadata_tells_an_instance_who_it_is(cloud):
    cloud("CreateKeyPair", KeyName="ops", KeyType="ed25519")
    own = instance(cloud, KeyName="ops", UserData=encoded("#!/bin/sh\n"), account=ACCOUNT)
    read = lambda path: metadata.answer(own, f"latest/{path}")  # noqa: E731
    assert read("meta-data/instance-id") == own["InstanceId"]
    assert read("meta-data/local-ipv4") == own["PrivateIpAddress"]
    assert read("meta-data/placement/availability-zone") == f"{REGION}a"
    assert read("meta-data/placement") == "availability-zone\nregion"
    assert read("meta-data/public-keys/0/openssh-key").startswith("ssh-ed25519 ")
    assert read("meta-data/iam/security-credentials") == "shop"
    assert read("user-data") == b"#!/bin/sh\n"
    assert "iam/" in read("meta-data").split("\n") and "instance-id" in read("meta-data").split("\n")
    assert json.loads(read("dynamic/instance-identity/document"))["region"] == REGION
    assert read("meta-data/tags/instance") is None, "tags are told only where that is switched on"
    assert read("meta-data/nothing") is None


def test_metadata_tells_tags_where_that_is_switched_on(cloud):
    own = instance(
        cloud, MetadataOptions={"InstanceMetadataTags": "enabled"}, TagSpecifications=tagged("instance", role="web")
    )
    assert metadata.answer(own, "latest/meta-data/tags/instance/role") == "web"


def test_a_session_token_is_good_for_one_instance_and_a_time(cloud, monkeypatch):
    token = metadata.token("i-1", 60)
    assert metadata.token_holds("i-1", token)
    assert not metadata.token_holds("i-2", token)
    assert not metadata.token_holds("i-1", token[:-1] + ("0" if token[-1] != "0" else "1"))
    assert not metadata.token_holds("i-1", "")
    monkeypatch.setattr(metadata.time, "time", lambda: 4e9)
    assert not metadata.token_holds("i-1", token)


def test_credentials_lead_to_the_instances_account_until_they_are_renewed(cloud):
    instance_id = cloud.launch(account="111111111111", IamInstanceProfile={"Name": "shop"})["InstanceId"]
    own = testbed.store.tables["ec2_instances"][instance_id]
    first = credentials.of_instance(own)
    assert get_account_id_from_access_key_id(first["AccessKeyId"]) == "111111111111"
    assert credentials.of_instance(own) == first
    credentials.expire(instance_id)
    assert credentials.of_instance(own)["AccessKeyId"] != first["AccessKeyId"]


def signed(keys: dict, **changes):
    """A request as LocalStack sees it, signed with the keys, and then changed."""
    url, body = "http://10.213.0.1:4566/", b"{}"
    request = AWSRequest("POST", url, data=body, headers={"X-Amz-Target": "AmazonSSM.GetParameter"})
    SigV4Auth(Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["Token"]), "ssm", REGION).add_auth(request)
    headers = Headers({"Host": "10.213.0.1:4566", **dict(request.headers), **changes})
    return SimpleNamespace(
        service=SimpleNamespace(protocol="json"),
        request=SimpleNamespace(method="POST", url=url, headers=headers, get_data=lambda: body),
    )


def test_a_right_signature_passes(cloud):
    signatures.check(signed(credentials.of_instance(instance(cloud))))


def test_a_wrong_signature_is_refused(cloud):
    keys = credentials.of_instance(instance(cloud))
    with refused("InvalidSignatureException", "does not match"):
        signatures.check(signed({**keys, "SecretAccessKey": "guessed"}))
    with refused("InvalidSignatureException", "does not match"):
        signatures.check(signed(keys, **{"X-Amz-Target": "AmazonSSM.DeleteParameter"}))
    with refused("UnrecognizedClientException", "token"):
        signatures.check(signed(keys, **{"X-Amz-Security-Token": "other"}))
    credentials.expire(testbed.store.tables["ec2_credentials"][keys["AccessKeyId"]]["instance"])
    with refused("ExpiredTokenException", "expired"):
        signatures.check(signed(keys))


def test_credentials_of_nobody_here_are_not_looked_at(cloud):
    signatures.check(signed({"AccessKeyId": "test", "SecretAccessKey": "test", "Token": "x"}))


def test_every_account_has_a_vpc_with_three_zones_and_three_images(cloud):
    for where in ({}, {"account": "111111111111"}, {"region": "us-east-1"}):
        region = where.get("region", REGION)
        assert [s["AvailabilityZone"] for s in cloud.subnets(**where)] == [f"{region}{zone}" for zone in "abc"]
        vpc = cloud("DescribeVpcs", Filters=[{"Name": "is-default", "Values": ["true"]}], **where)["Vpcs"]
        assert [v["VpcId"] for v in vpc] == [cloud.subnets(**where)[0]["VpcId"]]
        assert len(cloud("DescribeImages", **where)["Images"]) == 3
        groups = cloud("DescribeSecurityGroups", **where)["SecurityGroups"]
        assert [g["GroupName"] for g in groups] == ["default"]


def test_images_are_found_by_owner_and_name(cloud):
    def owners(**request) -> list[str]:
        return sorted(i["OwnerId"] for i in cloud("DescribeImages", **request)["Images"])

    assert owners(Owners=["amazon"]) == ["137112412989"]
    assert owners(Filters=[{"Name": "name", "Values": ["debian-12-*"]}]) == ["136693071363"]


def test_networks_are_checked(cloud):
    vpc = cloud("CreateVpc", CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    cloud("CreateSubnet", VpcId=vpc, CidrBlock="10.99.1.0/28")
    with refused("InvalidSubnet.Conflict", "10.99.1.0/24"):
        cloud("CreateSubnet", VpcId=vpc, CidrBlock="10.99.1.0/24")
    with refused("InvalidSubnet.Range", ""):
        cloud("CreateSubnet", VpcId=vpc, CidrBlock="10.98.1.0/24")
    with refused("InvalidVpcID.NotFound", "vpc-1"):
        cloud("CreateSubnet", VpcId="vpc-1", CidrBlock="10.99.2.0/24")
    with refused("DependencyViolation", vpc):
        cloud("DeleteVpc", VpcId=vpc)
    own = cloud("DescribeSubnets", Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    assert [s["AvailableIpAddressCount"] for s in own] == [11]
    cloud("DeleteSubnet", SubnetId=own[0]["SubnetId"])
    cloud("DeleteVpc", VpcId=vpc)


def test_key_pairs_are_made_imported_and_unique(cloud):
    made = cloud("CreateKeyPair", KeyName="ops", KeyType="ed25519")
    assert made["KeyMaterial"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    with refused("InvalidKeyPair.Duplicate", "ops"):
        cloud("CreateKeyPair", KeyName="ops")
    public = cloud("DescribeKeyPairs", KeyNames=["ops"], IncludePublicKey=True)["KeyPairs"][0]["PublicKey"]
    assert "PublicKey" not in cloud("DescribeKeyPairs")["KeyPairs"][0]
    copy = cloud("ImportKeyPair", KeyName="copy", PublicKeyMaterial=public.encode())
    assert copy["KeyFingerprint"] == made["KeyFingerprint"]
    with refused("InvalidKey.Format", ""):
        cloud("ImportKeyPair", KeyName="bad", PublicKeyMaterial=b"ssh-rsa nonsense")
    with refused("InvalidKeyPair.NotFound", "nobody"):
        cloud("DescribeKeyPairs", KeyNames=["nobody"])
    cloud("DeleteKeyPair", KeyName="copy")
    assert [k["KeyName"] for k in cloud("DescribeKeyPairs")["KeyPairs"]] == ["ops"]
