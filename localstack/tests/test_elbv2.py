"""Load balancers, target groups, listeners, rules and tags: what the API says and refuses."""

from types import SimpleNamespace

import pytest

from conftest import REGION, until
from elbv2_ground import SUBNETS, VPC, forward, ground, shop  # noqa: F401
from evenkeel_testbed import testbed
from evenkeel_testbed.elbv2 import config
from test_opsworks import refused

CERTIFICATE = {"CertificateArn": f"arn:aws:acm:{REGION}:000000000000:certificate/1"}


# Load balancers


def test_a_load_balancer_is_provisioning_then_active(ground):
    testbed.store.tables["config"]["state_delay"] = 0.2
    arn = ground.balancer()
    say = lambda: ground("DescribeLoadBalancers", LoadBalancerArns=[arn])["LoadBalancers"][0]["State"]["Code"]  # noqa: E731
    assert say() == "provisioning"
    until(lambda: say() == "active", 2)


def test_a_load_balancer_is_made_as_asked(ground):
    arn = ground.balancer(SecurityGroups=["sg-1"], Scheme="internal", Tags=[{"Key": "a", "Value": "b"}])
    balancer = ground("DescribeLoadBalancers", Names=["shop"])["LoadBalancers"][0]
    assert arn.startswith(f"arn:aws:elasticloadbalancing:{REGION}:000000000000:loadbalancer/app/shop/")
    assert (balancer["Scheme"], balancer["Type"], balancer["VpcId"]) == ("internal", "application", VPC)
    assert balancer["DNSName"].startswith("internal-shop-")
    assert [z["SubnetId"] for z in balancer["AvailabilityZones"]] == SUBNETS
    assert balancer["SecurityGroups"] == ["sg-1"]
    assert ground("DescribeTags", ResourceArns=[arn])["TagDescriptions"][0]["Tags"] == [{"Key": "a", "Value": "b"}]


def test_creating_the_same_balancer_again_gives_the_one_there_is(ground):
    arn = ground.balancer(Tags=[{"Key": "a", "Value": "b"}])
    assert ground.balancer(Tags=[{"Key": "a", "Value": "b"}]) == arn
    for other in ({"Scheme": "internal"}, {"Tags": [{"Key": "a", "Value": "c"}]}, {"kind": "network"}):
        with refused("DuplicateLoadBalancerName", "shop"):
            ground.balancer(**{"Tags": [{"Key": "a", "Value": "b"}], **other})


@pytest.mark.parametrize(
    "request_, code",
    [
        ({"Subnets": ["subnet-a"]}, "ValidationError"),
        ({"Subnets": ["subnet-b", "subnet-b2"]}, "InvalidConfigurationRequest"),
        ({"Subnets": ["subnet-a", "subnet-404"]}, "SubnetNotFound"),
        ({"Subnets": ["subnet-b", "subnet-other"]}, "InvalidSubnet"),
        ({"Subnets": []}, "ValidationError"),
        ({"SecurityGroups": ["sg-404"]}, "InvalidSecurityGroup"),
        ({"Name": "internal-shop"}, "ValidationError"),
        ({"Name": "-shop"}, "ValidationError"),
        ({"Name": "s" * 33}, "ValidationError"),
        ({"Name": "a_b"}, "ValidationError"),
        ({"Type": "gateway"}, "InvalidConfigurationRequest"),
        ({"Type": "nonsense"}, "ValidationError"),
        ({"Tags": [{"Key": "a"}, {"Key": "a"}]}, "DuplicateTagKeys"),
        ({"Name": None}, "ValidationError"),
    ],
)
def test_a_wrong_load_balancer_is_refused(ground, request_, code):
    with refused(code, ""):
        ground("CreateLoadBalancer", **{"Name": "shop", "Subnets": SUBNETS, **request_})
    assert ground("DescribeLoadBalancers")["LoadBalancers"] == []


def test_a_network_balancer_needs_one_zone_alone(ground):
    assert ":loadbalancer/net/" in ground.balancer(kind="network", Subnets=["subnet-a"])


def test_load_balancers_are_paged(ground):
    for name in ("c", "a", "b"):
        ground.balancer(name)
    names, marker = [], {}
    while True:
        page = ground("DescribeLoadBalancers", PageSize=2, **marker)
        names += [b["LoadBalancerName"] for b in page["LoadBalancers"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert sorted(names) == ["a", "b", "c"]
    with refused("ValidationError", "Marker"):
        ground("DescribeLoadBalancers", Marker="nonsense")


def test_balancers_of_another_region_or_account_are_not_found(ground, rooms, monkeypatch):
    arn = ground.balancer()
    with refused("LoadBalancerNotFound", "shop"):
        rooms("elbv2:DescribeLoadBalancers", region="us-east-1", Names=["shop"])
    other = SimpleNamespace(region=REGION, account_id="111111111111")
    assert rooms.handlers["elbv2:DescribeLoadBalancers"](other, {})["LoadBalancers"] == []
    with refused("LoadBalancerNotFound", arn):
        rooms.handlers["elbv2:DescribeLoadBalancers"](other, {"LoadBalancerArns": [arn]})
    made = rooms.handlers["elbv2:CreateLoadBalancer"](other, {"Name": "shop", "Subnets": SUBNETS})["LoadBalancers"][0]
    assert ":111111111111:" in made["LoadBalancerArn"] and made["LoadBalancerArn"] != arn


def test_two_balancers_never_share_an_address_classic_or_not(ground, rooms):
    listener = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}
    rooms("CreateLoadBalancer", LoadBalancerName="classic", AvailabilityZones=["x"], Listeners=[listener])
    ground.balancer()
    ground.balancer("other")
    tables = testbed.store.tables
    addresses = [b["Address"] for table in ("balancers", "v2_balancers") for b in tables[table].values()]
    assert len(set(addresses)) == 3


def test_deleting_a_balancer_frees_its_groups_and_is_done_once_and_again(ground, shop):
    attribute = {"Key": "deletion_protection.enabled", "Value": "true"}
    ground("ModifyLoadBalancerAttributes", LoadBalancerArn=shop.balancer, Attributes=[attribute])
    with refused("OperationNotPermitted", "deletion protection"):
        ground("DeleteLoadBalancer", LoadBalancerArn=shop.balancer)
    ground("ModifyLoadBalancerAttributes", LoadBalancerArn=shop.balancer, Attributes=[{**attribute, "Value": "false"}])
    for _ in range(2):
        ground("DeleteLoadBalancer", LoadBalancerArn=shop.balancer)
    with refused("ListenerNotFound", shop.listener):
        ground("DescribeListeners", ListenerArns=[shop.listener])
    assert ground("DescribeTargetGroups")["TargetGroups"][0]["LoadBalancerArns"] == []
    ground("DeleteTargetGroup", TargetGroupArn=shop.group)


def test_attributes_read_back_and_wrong_ones_are_refused(ground, shop):
    def read() -> dict:
        answer = ground("DescribeLoadBalancerAttributes", LoadBalancerArn=shop.balancer)
        return {a["Key"]: a["Value"] for a in answer["Attributes"]}

    assert read()["idle_timeout.timeout_seconds"] == "60"
    change = lambda key, value: ground(  # noqa: E731
        "ModifyLoadBalancerAttributes", LoadBalancerArn=shop.balancer, Attributes=[{"Key": key, "Value": value}]
    )
    change("idle_timeout.timeout_seconds", "120")
    assert read()["idle_timeout.timeout_seconds"] == "120"
    for key, value in (("idle_timeout.timeout_seconds", "4001"), ("idle_timeout.timeout_seconds", "x"), ("no.such", "1")):
        with refused("ValidationError", key):
            change(key, value)


def test_subnets_and_security_groups_can_be_set(ground, shop):
    zones = ground("SetSubnets", LoadBalancerArn=shop.balancer, Subnets=["subnet-a", "subnet-b2"])["AvailabilityZones"]
    assert [z["SubnetId"] for z in zones] == ["subnet-a", "subnet-b2"]
    with refused("InvalidSubnet", "VPC"):
        ground("SetSubnets", LoadBalancerArn=shop.balancer, Subnets=["subnet-b", "subnet-other"])
    with refused("SubnetNotFound", "subnet-404"):
        ground("SetSubnets", LoadBalancerArn=shop.balancer, Subnets=["subnet-a", "subnet-404"])
    ids = ground("SetSecurityGroups", LoadBalancerArn=shop.balancer, SecurityGroups=["sg-1"])["SecurityGroupIds"]
    assert ids == ["sg-1"]
    with refused("InvalidSecurityGroup", "sg-404"):
        ground("SetSecurityGroups", LoadBalancerArn=shop.balancer, SecurityGroups=["sg-404"])


# Target groups


def test_a_target_group_has_the_defaults_of_its_kind(ground):
    ground.group()
    ground.group("net", "TCP")
    ground.group("net-http", "TCP", HealthCheckProtocol="HTTP")
    described = {g["TargetGroupName"]: g for g in ground("DescribeTargetGroups")["TargetGroups"]}
    keys = ("HealthCheckProtocol", "HealthCheckPort", "HealthCheckIntervalSeconds", "HealthCheckTimeoutSeconds")
    keys += ("HealthyThresholdCount", "UnhealthyThresholdCount", "HealthCheckPath", "Matcher")
    said = {name: tuple(group.get(key) for key in keys) for name, group in described.items()}
    assert said["shop"] == ("HTTP", "traffic-port", 30, 5, 5, 2, "/", {"HttpCode": "200"})
    assert said["net"] == ("TCP", "traffic-port", 30, 10, 5, 2, None, None)
    assert said["net-http"] == ("HTTP", "traffic-port", 30, 6, 5, 2, "/", {"HttpCode": "200-399"})


def test_creating_the_same_group_again_gives_the_one_there_is(ground):
    arn = ground.group()
    assert ground.group() == arn
    for other in ({"Port": 81}, {"HealthCheckPath": "/up"}, {"Matcher": {"HttpCode": "204"}}):
        with refused("DuplicateTargetGroupName", "shop"):
            ground.group(**other)


@pytest.mark.parametrize(
    "request_, code",
    [
        ({"Port": None}, "ValidationError"),
        ({"Port": 70000}, "ValidationError"),
        ({"VpcId": None}, "ValidationError"),
        ({"Protocol": None}, "ValidationError"),
        ({"Protocol": "UDP"}, "InvalidConfigurationRequest"),
        ({"TargetType": "ip"}, "InvalidConfigurationRequest"),
        ({"ProtocolVersion": "GRPC"}, "InvalidConfigurationRequest"),
        ({"HealthCheckProtocol": "TCP"}, "ValidationError"),
        ({"HealthCheckPort": "0"}, "ValidationError"),
        ({"HealthCheckPort": "http"}, "ValidationError"),
        ({"HealthCheckPath": "up"}, "ValidationError"),
        ({"HealthCheckPath": "/a b"}, "ValidationError"),
        ({"HealthCheckPath": "/a\nglobal"}, "ValidationError"),
        ({"HealthCheckIntervalSeconds": 4}, "ValidationError"),
        ({"HealthCheckIntervalSeconds": 10, "HealthCheckTimeoutSeconds": 10}, "ValidationError"),
        ({"HealthyThresholdCount": 1}, "ValidationError"),
        ({"UnhealthyThresholdCount": 11}, "ValidationError"),
        ({"Matcher": {"HttpCode": "500"}}, "ValidationError"),
        ({"Matcher": {"HttpCode": "200,x"}}, "ValidationError"),
        ({"Matcher": {"HttpCode": "299-200"}}, "ValidationError"),
        ({"Name": "shop-"}, "ValidationError"),
        ({"HealthCheckEnabled": False}, "ValidationError"),
    ],
)
def test_a_wrong_target_group_is_refused(ground, request_, code):
    with refused(code, ""):
        ground("CreateTargetGroup", **{"Name": "shop", "Protocol": "HTTP", "Port": 80, "VpcId": VPC, **request_})


def test_a_health_check_can_be_changed(ground, shop):
    ground(
        "ModifyTargetGroup", TargetGroupArn=shop.group, HealthCheckPath="/up", HealthCheckPort="8080",
        Matcher={"HttpCode": "200-299"},
    )  # fmt: skip
    group = ground("DescribeTargetGroups", TargetGroupArns=[shop.group])["TargetGroups"][0]
    assert (group["HealthCheckPath"], group["HealthCheckPort"], group["Matcher"]["HttpCode"]) == ("/up", "8080", "200-299")
    assert group["HealthCheckIntervalSeconds"] == 30
    with refused("ValidationError", "interval"):
        ground("ModifyTargetGroup", TargetGroupArn=shop.group, HealthCheckTimeoutSeconds=60)


def test_a_group_in_use_cannot_be_deleted(ground, shop):
    with refused("ResourceInUse", shop.group):
        ground("DeleteTargetGroup", TargetGroupArn=shop.group)
    ground("DeleteListener", ListenerArn=shop.listener)
    for _ in range(2):
        ground("DeleteTargetGroup", TargetGroupArn=shop.group)
    with refused("TargetGroupNotFound", "shop"):
        ground("DescribeTargetGroups", Names=["shop"])


def test_groups_are_found_by_their_balancer(ground, shop):
    ground.group("spare")
    found = ground("DescribeTargetGroups", LoadBalancerArn=shop.balancer)["TargetGroups"]
    assert [g["TargetGroupName"] for g in found] == ["shop"]
    assert found[0]["LoadBalancerArns"] == [shop.balancer]
    with refused("ValidationError", "Only one"):
        ground("DescribeTargetGroups", LoadBalancerArn=shop.balancer, Names=["shop"])


def test_the_deregistration_delay_is_five_minutes_until_it_is_changed(ground, shop):
    def read() -> dict:
        answer = ground("DescribeTargetGroupAttributes", TargetGroupArn=shop.group)
        return {a["Key"]: a["Value"] for a in answer["Attributes"]}

    def change(key: str, value: str) -> None:
        ground("ModifyTargetGroupAttributes", TargetGroupArn=shop.group, Attributes=[{"Key": key, "Value": value}])

    assert read()["deregistration_delay.timeout_seconds"] == "300"
    change("deregistration_delay.timeout_seconds", "0")
    change("stickiness.enabled", "true")
    assert (read()["deregistration_delay.timeout_seconds"], read()["stickiness.enabled"]) == ("0", "true")
    for key, value in (("deregistration_delay.timeout_seconds", "3601"), ("stickiness.enabled", "yes"), ("no.such", "1")):
        with refused("ValidationError", key):
            change(key, value)


# Listeners and rules


def test_the_same_listener_twice_is_one_and_another_on_its_port_is_a_duplicate(ground, shop):
    assert ground.listener(shop.balancer, shop.group) == shop.listener
    other = ground.group("other")
    with refused("DuplicateListener", "port"):
        ground.listener(shop.balancer, other)
    second = ground.listener(shop.balancer, other, port=81)
    with refused("DuplicateListener", "port"):
        ground("ModifyListener", ListenerArn=second, Port=80)
    ground("ModifyListener", ListenerArn=second, Port=82, DefaultActions=forward(shop.group))
    described = ground("DescribeListeners", LoadBalancerArn=shop.balancer)["Listeners"]
    assert {x["Port"]: x["DefaultActions"][0]["TargetGroupArn"] for x in described} == {80: shop.group, 82: shop.group}


def test_https_needs_a_certificate_and_takes_more(ground, shop):
    with refused("ValidationError", "certificate"):
        ground.listener(shop.balancer, shop.group, 443, "HTTPS")
    with refused("CertificateNotFound", "nonsense"):
        ground.listener(shop.balancer, shop.group, 443, "HTTPS", Certificates=[{"CertificateArn": "nonsense"}])
    arn = ground.listener(shop.balancer, shop.group, 443, "HTTPS", Certificates=[CERTIFICATE])
    more = {"CertificateArn": CERTIFICATE["CertificateArn"] + "2"}
    ground("AddListenerCertificates", ListenerArn=arn, Certificates=[more])
    listed = ground("DescribeListenerCertificates", ListenerArn=arn)["Certificates"]
    assert [(c["CertificateArn"], c["IsDefault"]) for c in listed] == [
        (CERTIFICATE["CertificateArn"], True), (more["CertificateArn"], False),
    ]  # fmt: skip
    with refused("ValidationError", "Certificates"):
        ground("AddListenerCertificates", ListenerArn=shop.listener, Certificates=[more])


def test_listeners_and_groups_have_to_fit(ground, shop):
    network_group, elsewhere = ground.group("net", "TCP"), ground.group("elsewhere", VpcId="vpc-2")
    with refused("IncompatibleProtocols", network_group):
        ground.listener(shop.balancer, network_group, 81)
    with refused("InvalidConfigurationRequest", "vpc-2"):
        ground.listener(shop.balancer, elsewhere, 81)
    with refused("UnsupportedProtocol", "TCP"):
        ground.listener(shop.balancer, shop.group, 81, "TCP")
    with refused("TargetGroupNotFound", "no-such"):
        ground.listener(shop.balancer, "arn:aws:elasticloadbalancing:x:0:targetgroup/no-such/1", 81)
    with refused("TargetGroupAssociationLimit", shop.group):
        ground.listener(ground.balancer("second"), shop.group, 81)
    with refused("LoadBalancerNotFound", "no-such"):
        ground.listener("arn:aws:elasticloadbalancing:x:0:loadbalancer/app/no-such/1", shop.group, 81)


def test_rules_come_before_the_default(ground, shop):
    api = ground.group("api")
    wanted = [
        {"Field": "path-pattern", "Values": ["/api/*"]},
        {"Field": "host-header", "HostHeaderConfig": {"Values": ["*.example.com"]}},
    ]
    rule = ground("CreateRule", ListenerArn=shop.listener, Priority=10, Conditions=wanted, Actions=forward(api))["Rules"][0]
    described = ground("DescribeRules", ListenerArn=shop.listener)["Rules"]
    assert [(r["Priority"], r["IsDefault"]) for r in described] == [("10", False), ("default", True)]
    assert described[0]["Conditions"][1]["Values"] == ["*.example.com"]
    with refused("PriorityInUse", "10"):
        ground("CreateRule", ListenerArn=shop.listener, Priority=10, Conditions=wanted, Actions=forward(api))
    with refused("ResourceInUse", api):
        ground("DeleteTargetGroup", TargetGroupArn=api)
    with refused("OperationNotPermitted", "Default rule"):
        ground("DeleteRule", RuleArn=described[1]["RuleArn"])
    ground("DeleteRule", RuleArn=rule["RuleArn"])
    with refused("RuleNotFound", rule["RuleArn"]):
        ground("DeleteRule", RuleArn=rule["RuleArn"])
    ground("DeleteTargetGroup", TargetGroupArn=api)


@pytest.mark.parametrize(
    "conditions",
    [
        [], [{"Field": "path-pattern", "Values": []}], [{"Field": "source-ip", "Values": ["10.0.0.0/8"]}],
        [{"Field": "path-pattern", "Values": ["/a b"]}], [{"Field": "path-pattern", "Values": ["/" + "a" * 128]}],
        [{"Field": "host-header", "Values": ["a/b"]}],
        [{"Field": "host-header", "Values": ["a"]}, {"Field": "host-header", "Values": ["b"]}],
    ],
)  # fmt: skip
def test_wrong_conditions_are_refused(ground, shop, conditions):
    with refused("ValidationError", ""):
        ground("CreateRule", ListenerArn=shop.listener, Priority=1, Conditions=conditions, Actions=forward(shop.group))


@pytest.mark.parametrize(
    "pattern, expression",
    [("/img/*", "^\\x2fimg\\x2f.*$"), ("a?.example.com", "^a.\\x2eexample\\x2ecom$"), ("/a'b", "^\\x2fa\\x27b$")],
)
def test_patterns_become_expressions(pattern, expression):
    assert config.expression(pattern) == expression


def test_tags_of_everything_can_be_changed(ground, shop):
    arns = [shop.balancer, shop.group, shop.listener]
    ground("AddTags", ResourceArns=arns, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    ground("RemoveTags", ResourceArns=arns, TagKeys=["a"])
    described = ground("DescribeTags", ResourceArns=arns)["TagDescriptions"]
    assert [d["Tags"] for d in described] == [[{"Key": "b", "Value": "2"}]] * 3
    with refused("TooManyTags", "50"):
        ground("AddTags", ResourceArns=arns, Tags=[{"Key": str(n), "Value": ""} for n in range(50)])
    with refused("TargetGroupNotFound", "no-such"):
        ground("DescribeTags", ResourceArns=["arn:aws:elasticloadbalancing:x:0:targetgroup/no-such/1"])
    with refused("ValidationError", "arn:aws:s3:::x"):
        ground("DescribeTags", ResourceArns=["arn:aws:s3:::x"])
