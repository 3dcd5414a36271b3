"""Application and network load balancers with real machines behind them, through LocalStack's API as any client sees
it; balance.py makes them, as a demonstration would."""

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from conftest import REGION, until
from test_end_to_end import HERE, IMAGE, ROLE, SERVER, sh

sys.path.insert(0, str(HERE))
import balance  # noqa: E402

DRAINING = ("draining", "Target.DeregistrationInProgress")
HEALTHY = ("healthy", None)
NOT_REGISTERED = ("unused", "Target.NotRegistered")


class Fleet:
    """Two instances with a web server each, behind an application load balancer and a network load balancer."""

    def __init__(self, opsworks, elbv2, control):
        self.opsworks, self.elbv2, self.control = opsworks, elbv2, control
        self.stack = opsworks.create_stack(Name="v2", Region=REGION, DefaultRootDeviceType="ebs", **ROLE)["StackId"]
        layer = opsworks.create_layer(StackId=self.stack, Type="custom", Name="v2", Shortname="v2")["LayerId"]
        ids = [
            opsworks.create_instance(StackId=self.stack, LayerIds=[layer], InstanceType="t3.medium")["InstanceId"]
            for _ in range(2)
        ]
        for instance_id in ids:
            opsworks.start_instance(InstanceId=instance_id)
        for instance_id in ids:
            until(lambda: self.described(instance_id)["Status"] == "online", 30)
        self.machines = [self.machine(instance_id) for instance_id in ids]
        for machine in self.machines:
            self.inside(machine, "bash", "-c", IMAGE)
            self.inside(
                machine, "docker", "run", "-d", "--name", "web", "-e", f"WHO={machine['hostname']}", "-p", "80:80",
                "-p", "8080:80", "web", "perl", "-e", SERVER,
            )  # fmt: skip
        self.ids = [machine["ec2_instance_id"] for machine in self.machines]
        self.front = balance.create("v2", draining=30, stack="v2", region=REGION)

    def machine(self, instance_id: str) -> dict:
        return next(m for m in self.control("instances") if m["instance_id"] == instance_id)

    def described(self, instance_id: str) -> dict:
        return self.opsworks.describe_instances(InstanceIds=[instance_id])["Instances"][0]

    def inside(self, machine: dict, *command: str) -> str:
        return sh("docker", "exec", machine["container"], *command)

    def register(self, ec2_id: str, group: str | None = None, **more) -> None:
        self.elbv2.register_targets(TargetGroupArn=group or self.front.group, Targets=[{"Id": ec2_id, **more}])

    def deregister(self, ec2_id: str, group: str | None = None, **more) -> None:
        self.elbv2.deregister_targets(TargetGroupArn=group or self.front.group, Targets=[{"Id": ec2_id, **more}])

    def health(self, ec2_id: str, port: int = 80, group: str | None = None) -> tuple:
        wanted = {"Id": ec2_id, "Port": port}
        return balance.targets(group or self.front.group, wanted, region=REGION)[ec2_id, port]

    def get(self, path: str, front=None, **headers) -> str:
        front = front or self.front
        request = urllib.request.Request(f"http://{front.address}:{front.port}{path}", headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return answer.read().decode().strip()

    def sessions(self, ec2_id: str) -> int:
        mine = next(b for b in self.control("loadbalancers") if b.get("arn") == self.front.arn)
        return sum(s["sessions"] for s in mine["servers"] if s["ec2_instance_id"] == ec2_id)


class Load:
    """A few clients that ask one thing after the other over connections that they keep, and what they were told."""

    def __init__(self, front, clients: int = 4):
        self.front, self.answers, self.failed, self._stop = front, [], [], threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        connection = HTTPConnection(self.front.address, self.front.port, timeout=10)
        while not self._stop.is_set():
            try:
                connection.request("GET", "/who")
                answer = connection.getresponse()
                body = answer.read().decode().strip()
                (self.answers if answer.status == 200 else self.failed).append(body)
            except (OSError, HTTPException) as error:
                self.failed.append(repr(error))
                connection.close()
            # Bounded: a few hundred requests a second are load enough to see one fail.
            time.sleep(0.005)
        connection.close()

    def seen(self, count: int = 50) -> set[str]:
        """Who answers the next requests."""
        start = len(self.answers)
        until(lambda: len(self.answers) >= start + count)
        return set(self.answers[start:])


@pytest.fixture(scope="module")
def fleet(client, control):
    before = control("config")
    control("config", {"state_delay": 0.1, "health_interval_override": 0.2, "drain_min": 0.5})
    opsworks = client("opsworks")
    try:
        yield Fleet(opsworks, client("elbv2"), control)
    finally:
        for name in ("v2", "v2net"):
            balance.delete(name, REGION)
        for stack in opsworks.describe_stacks()["Stacks"]:
            if stack["Name"] == "v2":
                control("reset", {"stack": stack["StackId"]})
        control("config", before)
    assert not [b for b in control("loadbalancers") if b["region"] == REGION]


@pytest.fixture
def both(fleet):
    """Whatever the test before did: both targets in service."""
    for ec2_id in fleet.ids:
        fleet.register(ec2_id)
    balance.wait_healthy(fleet.front.group, 2, region=REGION)
    return fleet


def test_a_target_is_initial_then_healthy_then_in_traffic(fleet):
    with pytest.raises(urllib.error.HTTPError, match="503"):
        fleet.get("/who")
    fleet.control("config", {"elb_registration_delay": 0.5})
    fleet.register(fleet.ids[0])
    assert fleet.health(fleet.ids[0]) == ("initial", "Elb.RegistrationInProgress")
    fleet.control("config", {"elb_registration_delay": 0})
    said = []
    until(lambda: said.append(fleet.health(fleet.ids[0])) or said[-1] == HEALTHY)
    assert ("initial", "Elb.InitialHealthChecking") in said
    assert {fleet.get("/who") for _ in range(4)} == {fleet.machines[0]["hostname"]}
    assert fleet.health(fleet.ids[1]) == NOT_REGISTERED
    fleet.register(fleet.ids[1])
    until(lambda: fleet.health(fleet.ids[1]) == HEALTHY)
    assert len({fleet.get("/who") for _ in range(4)}) == 2


def test_no_request_fails_while_a_target_leaves_and_comes_back(both):
    leaving, staying = both.machines
    with Load(both.front) as load:
        for _ in range(2):
            assert load.seen() == {leaving["hostname"], staying["hostname"]}
            both.deregister(both.ids[0])
            assert both.health(both.ids[0]) == DRAINING
            until(lambda: both.health(both.ids[0]) == NOT_REGISTERED)
            assert load.seen() == {staying["hostname"]}
            # Nothing is lost with what is out: the container can be swapped now.
            both.inside(leaving, "docker", "restart", "-t", "1", "web")
            both.register(both.ids[0])
            until(lambda: both.health(both.ids[0]) == HEALTHY)
        assert load.seen() == {leaving["hostname"], staying["hostname"]}
    assert load.failed == []


def test_a_request_in_flight_outlives_the_deregistration(both):
    leaving, staying = both.machines
    answers = []
    slow = _slow_requests(both, answers)
    both.deregister(both.ids[0])
    assert both.health(both.ids[0]) == DRAINING
    assert {both.get("/who") for _ in range(4)} == {staying["hostname"]}
    assert both.health(both.ids[0]) == DRAINING
    until(lambda: both.health(both.ids[0]) == NOT_REGISTERED)
    for thread in slow:
        thread.join()
    assert sorted(answers) == sorted([leaving["hostname"], staying["hostname"]])
    assert list(balance.targets(both.front.group, region=REGION)) == [(both.ids[1], 80)]


def test_a_draining_target_can_be_taken_back_with_a_request_in_flight(both):
    answers = []
    slow = _slow_requests(both, answers)
    both.deregister(both.ids[0])
    assert both.health(both.ids[0]) == DRAINING
    both.register(both.ids[0])
    until(lambda: both.health(both.ids[0]) == HEALTHY)
    assert both.sessions(both.ids[0]) == 1
    assert len({both.get("/who") for _ in range(4)}) == 2
    for thread in slow:
        thread.join()
    assert sorted(answers) == sorted(m["hostname"] for m in both.machines)


def test_what_the_port_answers_is_a_target_s_health_and_its_reason(both):
    broken = both.machines[1]
    both.inside(broken, "docker", "stop", "-t", "1", "web")
    until(lambda: both.health(both.ids[1]) == ("unhealthy", "Target.FailedHealthChecks"))
    assert {both.get("/who") for _ in range(4)} == {both.machines[0]["hostname"]}
    both.inside(broken, "docker", "start", "web")
    until(lambda: both.health(both.ids[1]) == HEALTHY)
    change = lambda codes: both.elbv2.modify_target_group(  # noqa: E731
        TargetGroupArn=both.front.group, Matcher={"HttpCode": codes}
    )
    change("204")
    until(lambda: both.health(both.ids[1]) == ("unhealthy", "Target.ResponseCodeMismatch"))
    described = both.elbv2.describe_target_health(TargetGroupArn=both.front.group)["TargetHealthDescriptions"]
    assert described[0]["TargetHealth"]["Description"] == "Health checks failed with these codes: [200]"
    change("200-299,404")
    balance.wait_healthy(both.front.group, 2, region=REGION)


def test_two_ports_of_an_instance_are_two_targets(both):
    both.register(both.ids[0], Port=8080)
    both.register(both.ids[0], Port=8081)
    until(lambda: both.health(both.ids[0], 8080) == HEALTHY)
    until(lambda: both.health(both.ids[0], 8081) == ("unhealthy", "Target.FailedHealthChecks"))
    for port in (8080, 8081):
        both.deregister(both.ids[0], Port=port)
        until(lambda: both.health(both.ids[0], port) == NOT_REGISTERED)
    assert both.health(both.ids[0]) == HEALTHY


def test_new_listeners_rules_and_groups_do_not_disturb_the_traffic(both):
    vpc, _ = balance.subnets(REGION)
    elbv2 = both.elbv2
    with Load(both.front) as load:
        api = elbv2.create_target_group(
            Name="v2api", Protocol="HTTP", Port=8080, VpcId=vpc, HealthCheckPath="/who",
            Tags=[{"Key": "evenkeel:stack", "Value": "v2"}],
        )["TargetGroups"][0]["TargetGroupArn"]  # fmt: skip
        both.register(both.ids[1], api)
        assert both.health(both.ids[1], 8080, api) == ("unused", "Target.NotInUse")
        forward = [{"Type": "forward", "TargetGroupArn": api}]
        rule = elbv2.create_rule(
            ListenerArn=both.front.listener, Priority=1, Actions=forward,
            Conditions=[
                {"Field": "path-pattern", "Values": ["/w?o"]}, {"Field": "host-header", "Values": ["api.*"]},
            ],
        )["Rules"][0]["RuleArn"]  # fmt: skip
        until(lambda: both.health(both.ids[1], 8080, api) == HEALTHY)
        assert {both.get("/who", Host="api.example.com") for _ in range(4)} == {both.machines[1]["hostname"]}
        # Whose turn it is depends on the load; the rule's group has the second machine alone.
        until(lambda: both.get("/who", Host="shop.example.com") == both.machines[0]["hostname"])
        second = elbv2.create_listener(
            LoadBalancerArn=both.front.arn, Port=81, Protocol="HTTP", DefaultActions=forward
        )["Listeners"][0]["ListenerArn"]  # fmt: skip
        elbv2.delete_listener(ListenerArn=second)
        elbv2.delete_rule(RuleArn=rule)
        elbv2.delete_target_group(TargetGroupArn=api)
        load.seen()
    assert load.failed == []


def test_a_network_balancer_drains_connections_not_requests(both):
    front = balance.create("v2net", "network", draining=3, stack="v2", region=REGION)
    for ec2_id in both.ids:
        both.register(ec2_id, front.group)
    balance.wait_healthy(front.group, 2, region=REGION)
    assert len({both.get("/who", front) for _ in range(4)}) == 2
    answers = []
    slow = [threading.Thread(target=lambda: answers.append(both.get("/slow", front))) for _ in range(2)]
    for thread in slow:
        thread.start()
    until(lambda: sum(s["sessions"] for s in _view(both, front)["servers"]) == 2)
    both.deregister(both.ids[0], front.group)
    assert both.health(both.ids[0], group=front.group) == DRAINING
    for thread in slow:
        thread.join()
    assert len(answers) == 2
    until(lambda: both.health(both.ids[0], group=front.group) == NOT_REGISTERED)
    assert _view(both, front)["kind"] == "network"


def test_the_api_goes_and_comes_back_while_balancers_go_on(both):
    settings = {"elb_registration_delay": 0, "state_delay": 0.1, "health_interval_override": 0.2, "drain_min": 2}
    both.control("config", settings)
    pid = _view(both, both.front)["haproxy_pid"]
    with Load(both.front) as load:
        both.deregister(both.ids[0])
        subprocess.run([HERE / "stop-api"], check=True)
        assert load.seen() == {both.machines[1]["hostname"]}
        subprocess.run([HERE / "start-api"], check=True)
        assert _view(both, both.front)["haproxy_pid"] == pid
        # The drain that was under way is ended, by the successor.
        until(lambda: both.health(both.ids[0]) == NOT_REGISTERED)
        both.register(both.ids[0])
        until(lambda: both.health(both.ids[0]) == HEALTHY)
        assert load.seen() == {m["hostname"] for m in both.machines}
    assert load.failed == []
    assert balance.find("v2", REGION) == both.front


def test_reads_can_lag_behind_writes(both):
    fault = both.control("faults", {"service": "elbv2", "region": REGION, "lag": 2})["id"]
    try:
        time.sleep(2.5)  # until there is a past to tell of
        both.deregister(both.ids[0])
        assert both.health(both.ids[0]) == HEALTHY
        until(lambda: both.health(both.ids[0]) == DRAINING)
    finally:
        both.control(f"faults/{fault}", method="DELETE")
    until(lambda: both.health(both.ids[0]) == NOT_REGISTERED)


def test_a_dead_machine_is_unhealthy_and_a_stopped_one_unused(both):
    stopped = both.machines[1]
    both.opsworks.stop_instance(InstanceId=stopped["instance_id"])
    until(lambda: both.health(both.ids[1]) == ("unused", "Target.InvalidState"), 30)
    assert {both.get("/who") for _ in range(4)} == {both.machines[0]["hostname"]}
    both.opsworks.start_instance(InstanceId=stopped["instance_id"])
    until(lambda: both.described(stopped["instance_id"])["Status"] == "online", 30)
    both.inside(both.machine(stopped["instance_id"]), "docker", "start", "web")
    until(lambda: both.health(both.ids[1]) == HEALTHY)


def test_the_command_tells_what_there_is(both):
    shown = sh(sys.executable, str(HERE / "balance.py"), "show", "v2", "--region", REGION, env=dict(os.environ))
    assert both.front.address in shown and both.ids[0] in shown and '"healthy"' in shown


def test_a_reset_by_tag_takes_balancers_and_groups(both):
    both.control("reset", {"stack": "v2"})
    assert not [b for b in both.control("loadbalancers") if b["region"] == REGION]
    assert both.elbv2.describe_target_groups()["TargetGroups"] == []
    assert not list(Path(os.environ["EVENKEEL_TESTBED"]).glob("run/haproxy/*.cfg"))


def _slow_requests(fleet, answers: list[str]) -> list[threading.Thread]:
    """One is in flight to each of the two targets when this returns."""
    threads = [threading.Thread(target=lambda: answers.append(fleet.get("/slow"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: fleet.sessions(fleet.ids[0]) == fleet.sessions(fleet.ids[1]) == 1)
    return threads


def _view(fleet, front) -> dict:
    return next(b for b in fleet.control("loadbalancers") if b.get("arn") == front.arn)
