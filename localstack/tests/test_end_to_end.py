"""Real machines, a real balancer, real requests, through LocalStack's API as any client sees it."""

import json
import os
import ssl
import subprocess
import threading
import urllib.request
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from conftest import REGION, until

HERE = Path(__file__).resolve().parent.parent
ROLE = {"ServiceRoleArn": "arn:aws:iam::1:role/r", "DefaultInstanceProfileArn": "arn:aws:iam::1:instance-profile/p"}
IN_PROGRESS = "Instance registration is still in progress."
DEREGISTERING = "Instance deregistration currently in progress."
NOT_REGISTERED = "Instance is not currently registered with the LoadBalancer."

# A web server in the Perl that every Debian has: /slow takes three seconds, /who tells whose it is.
SERVER = r"""
use Socket; socket(S, PF_INET, SOCK_STREAM, 0); setsockopt(S, SOL_SOCKET, SO_REUSEADDR, 1);
bind(S, sockaddr_in(80, INADDR_ANY)) or die; listen(S, 64); $SIG{CHLD} = "IGNORE"; $SIG{TERM} = sub { exit 0 };
while (1) { accept(C, S) or next; if (fork) { close C; next }
  my $r = ""; while (sysread(C, my $b, 4096)) { $r .= $b; last if $r =~ /\r\n\r\n/ }
  sleep 3 if $r =~ m{^GET /slow}; my $body = $ENV{WHO} . "\n";
  syswrite C, "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\nConnection: close\r\n\r\n$body"; exit }
"""

# Makes an image of perl and what it links to, inside the instance.
IMAGE = """
set -e
files=$(ldd /usr/bin/perl | grep -o '/[^ ]*')
tar -chf - /usr/bin/perl $files /usr/lib/*/perl-base 2>/dev/null | docker import - web
"""


def sh(*command: str, **more) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def fast(control):
    before = control("config")
    control("config", {"state_delay": 0.1, "health_interval_override": 0.2, "drain_min": 0.5})
    yield
    control("config", before)


@pytest.fixture(scope="module")
def opsworks(client, fast):
    return client("opsworks")


@pytest.fixture(scope="module")
def elb(client, fast):
    return client("elb")


class Shop:
    """A stack with one layer, two instances online behind the balancer, a web server on each."""

    def __init__(self, opsworks, elb, control):
        self.opsworks, self.elb, self.control = opsworks, elb, control
        self.stack = opsworks.create_stack(Name="shop", Region=REGION, DefaultRootDeviceType="ebs", **ROLE)["StackId"]
        self.layer = opsworks.create_layer(
            StackId=self.stack, Type="custom", Name="Docker", Shortname="docker",
            VolumeConfigurations=[
                {"MountPoint": "/var/lib/docker", "NumberOfDisks": 1, "Size": 120, "VolumeType": "gp2"}
            ],
        )["LayerId"]  # fmt: skip
        elb.create_load_balancer(
            LoadBalancerName="e2e",
            AvailabilityZones=[f"{REGION}a"],
            Listeners=[{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 80}],
        )
        check = {"Target": "HTTP:80/", "Interval": 5, "Timeout": 2, "UnhealthyThreshold": 2, "HealthyThreshold": 2}
        elb.configure_health_check(LoadBalancerName="e2e", HealthCheck=check)
        elb.modify_load_balancer_attributes(
            LoadBalancerName="e2e",
            LoadBalancerAttributes={"ConnectionDraining": {"Enabled": True, "Timeout": 30}},
        )
        opsworks.attach_elastic_load_balancer(ElasticLoadBalancerName="e2e", LayerId=self.layer)
        self.ids = [
            opsworks.create_instance(StackId=self.stack, LayerIds=[self.layer], InstanceType="t3.medium")["InstanceId"]
            for _ in range(2)
        ]
        for instance_id in self.ids:
            opsworks.start_instance(InstanceId=instance_id)
        for instance_id in self.ids:
            until(lambda: self.status(instance_id) == "online", 30)
            self.serve(instance_id)
        until(lambda: self.health() == [("InService", "N/A", "N/A")] * 2)

    def serve(self, instance_id: str) -> None:
        machine = self.machine(instance_id)
        inside = ("docker", "exec", machine["container"])
        sh(*inside, "bash", "-c", IMAGE)
        sh(
            *inside, "docker", "run", "-d", "--name", "web", "-e", f"WHO={machine['hostname']}", "-p", "80:80",
            "--restart", "unless-stopped", "web", "perl", "-e", SERVER,
        )  # fmt: skip

    def describe(self, instance_id: str) -> dict:
        return self.opsworks.describe_instances(InstanceIds=[instance_id])["Instances"][0]

    def status(self, instance_id: str) -> str:
        return self.describe(instance_id)["Status"]

    def machine(self, instance_id: str) -> dict:
        return next(m for m in self.control("instances") if m["instance_id"] == instance_id)

    def ec2(self, instance_id: str) -> dict:
        return {"InstanceId": self.machine(instance_id)["ec2_instance_id"]}

    def health(self, *ec2: dict) -> list[tuple]:
        request = {"Instances": list(ec2)} if ec2 else {}
        states = self.elb.describe_instance_health(LoadBalancerName="e2e", **request)["InstanceStates"]
        return [(s["State"], s["ReasonCode"], s["Description"]) for s in states]

    def get(self, path: str) -> str:
        address = next(b for b in self.control("loadbalancers") if b["name"] == "e2e")["address"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{address}{path}", timeout=10) as answer:
            return answer.read().decode().strip()


@pytest.fixture(scope="module")
def shop(opsworks, elb, control):
    before = set(os.listdir(state_directory() / "volumes"))
    try:
        shop = Shop(opsworks, elb, control)
        yield shop
    finally:
        for stack in opsworks.describe_stacks()["Stacks"]:
            control("reset", {"stack": stack["StackId"]})
        elb.delete_load_balancer(LoadBalancerName="e2e")
    # Nothing of it is left.
    assert not sh("docker", "ps", "-aq", "--filter", f"name=evenkeel-{shop.stack[:8]}-")
    assert set(os.listdir(state_directory() / "volumes")) <= before
    assert not [b for b in control("loadbalancers") if b["region"] == REGION]


def state_directory() -> Path:
    return Path(os.environ["EVENKEEL_TESTBED"])


def engine(machine: dict, path: str, certificates: Path | None = None) -> dict:
    """What an instance's engine answers over mutual TLS."""
    directory = certificates or Path(os.environ["EVENKEEL_DOCKER_CERT_PATH"])
    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    context.load_cert_chain(str(directory / "cert.pem"), str(directory / "key.pem"))
    connection = HTTPSConnection(machine["address"], 2376, timeout=5, context=context)
    try:
        connection.request("GET", path)
        return json.load(connection.getresponse())
    finally:
        connection.close()


def test_an_instance_is_an_engine_of_its_own_with_a_real_volume(shop):
    for instance_id in shop.ids:
        machine, instance = shop.machine(instance_id), shop.describe(instance_id)
        info = engine(machine, "/info")
        assert (info["Name"], info["Driver"]) == (instance["Hostname"], "overlay2")
        assert machine["address"] == instance["PrivateIp"] == instance["PublicIp"]
        size = sh("docker", "exec", machine["container"], "df", "-h", "--output=size", "/var/lib/docker").split()[1]
        assert size == "118G"
        assert "Calling GET /info" in Path(machine["engine_log"]).read_text()
    volumes = shop.opsworks.describe_volumes(StackId=shop.stack)["Volumes"]
    assert [(v["Size"], v["MountPoint"], v["Status"]) for v in volumes] == [(120, "/var/lib/docker", "in-use")] * 2


def test_an_engine_turns_strangers_away(shop):
    with pytest.raises(OSError):
        engine(shop.machine(shop.ids[0]), "/info", state_directory() / "pki" / "rogue" / "client")


def test_a_request_in_flight_outlives_the_deregistration(shop):
    assert {shop.get("/who") for _ in range(4)} == {"docker1", "docker2"}
    leaving, staying = shop.ec2(shop.ids[0]), shop.ec2(shop.ids[1])
    answers = []
    slow = [threading.Thread(target=lambda: answers.append(shop.get("/slow"))) for _ in range(2)]
    for thread in slow:
        thread.start()
    until(lambda: sum(s["sessions"] for b in shop.control("loadbalancers") for s in b["servers"]) >= 2)

    shop.elb.deregister_instances_from_load_balancer(LoadBalancerName="e2e", Instances=[leaving])
    assert shop.health(leaving) == [("InService", "N/A", DEREGISTERING)]
    # New requests go elsewhere while the old ones are finished.
    assert {shop.get("/who") for _ in range(4)} == {"docker2"}
    until(lambda: shop.health(leaving) == [("OutOfService", "Instance", NOT_REGISTERED)])
    for thread in slow:
        thread.join()
    assert sorted(answers) == ["docker1", "docker2"]
    assert shop.health() == shop.health(staying) == [("InService", "N/A", "N/A")]

    shop.elb.register_instances_with_load_balancer(LoadBalancerName="e2e", Instances=[leaving])
    assert shop.health(leaving) == [("OutOfService", "ELB", IN_PROGRESS)]
    until(lambda: shop.health(leaving) == [("InService", "N/A", "N/A")])


def test_health_is_what_the_port_answers(shop):
    machine = shop.machine(shop.ids[1])
    sh("docker", "exec", machine["container"], "docker", "stop", "-t", "1", "web")
    until(lambda: shop.health(shop.ec2(shop.ids[1]))[0][0] == "OutOfService")
    assert shop.health(shop.ec2(shop.ids[1]))[0][1] == "Instance"
    assert shop.get("/who") == "docker1"
    sh("docker", "exec", machine["container"], "docker", "start", "web")
    until(lambda: shop.health() == [("InService", "N/A", "N/A")] * 2)


def test_the_api_goes_and_comes_back_while_engines_and_balancers_go_on(shop):
    before = [shop.machine(instance_id) for instance_id in shop.ids]
    subprocess.run([HERE / "stop-api"], check=True)
    address = "127.{}.0.".format(1 + int(os.environ.get("EVENKEEL_TESTBED_NUMBER") or 0))
    assert engine(before[0], "/info")["Name"] == "docker1"
    assert address in sh("ss", "-ltn")
    subprocess.run([HERE / "start-api"], check=True)
    assert [shop.machine(instance_id) for instance_id in shop.ids] == before
    assert shop.health() == [("InService", "N/A", "N/A")] * 2
    assert {shop.get("/who") for _ in range(4)} == {"docker1", "docker2"}


def test_a_new_listener_does_not_disturb_the_old_one(shop):
    failed, stop = [], threading.Event()

    def hammer():
        while not stop.is_set():
            try:
                shop.get("/")
            except OSError as error:
                failed.append(error)

    thread = threading.Thread(target=hammer)
    thread.start()
    listener = {"Protocol": "TCP", "LoadBalancerPort": 8080, "InstancePort": 80}
    shop.elb.create_load_balancer_listeners(LoadBalancerName="e2e", Listeners=[listener])
    assert shop.get(":8080/who") in ("docker1", "docker2")
    stop.set()
    thread.join()
    assert not failed


def test_a_dead_machine_is_a_lost_connection_and_comes_back(shop):
    machine = shop.machine(shop.ids[0])
    sh("docker", "kill", machine["container"])
    until(lambda: shop.status(shop.ids[0]) == "connection_lost")
    until(lambda: shop.health(shop.ec2(shop.ids[0]))[0][0] == "OutOfService")
    sh("docker", "start", machine["container"])
    until(lambda: shop.status(shop.ids[0]) == "online")
    until(lambda: shop.health() == [("InService", "N/A", "N/A")] * 2)


def test_a_dead_engine_is_started_again(shop):
    machine = shop.machine(shop.ids[0])
    inside = ("docker", "exec", machine["container"])
    old = sh(*inside, "pgrep", "-xo", "dockerd").strip()
    sh(*inside, "kill", "-9", old)

    def answers() -> bool:
        try:
            return engine(machine, "/info")["Name"] == "docker1"
        except OSError:
            return False

    until(answers)
    assert sh(*inside, "pgrep", "-xo", "dockerd").strip() != old
    # An engine that was killed stops what ran before, and starts none of it again, `--restart always` or not.
    assert engine(machine, "/containers/json") == []
    sh(*inside, "docker", "start", "web")
    until(lambda: shop.health() == [("InService", "N/A", "N/A")] * 2)


def test_wrong_certificates_can_be_had(shop):
    machine = shop.machine(shop.ids[0])
    rogue = state_directory() / "pki" / "rogue" / "client"

    def turned_away(certificates) -> bool:
        try:
            engine(machine, "/info", certificates)
            return False
        except OSError as error:
            return isinstance(error, ssl.SSLError)

    shop.control(f"instances/{shop.ids[0]}/tls", {"ca": "rogue"})
    until(lambda: turned_away(None))
    assert engine(machine, "/info", rogue)["Name"] == "docker1"
    shop.control(f"instances/{shop.ids[0]}/tls", {"ca": "evenkeel"})
    until(lambda: turned_away(rogue))
    assert engine(machine, "/info")["Name"] == "docker1"


def test_a_stopped_instance_keeps_its_volume_and_frees_its_device(shop):
    instance_id = shop.ids[0]
    file = shop.machine(instance_id)["volumes"][0]["file"]
    shop.opsworks.stop_instance(InstanceId=instance_id)
    until(lambda: shop.status(instance_id) == "stopped", 30)
    assert file not in sh("losetup", "--list", "--noheadings", "--output", "BACK-FILE")
    assert len(shop.health()) == 1
    shop.opsworks.start_instance(InstanceId=instance_id)
    until(lambda: shop.status(instance_id) == "online", 30)
    assert shop.machine(instance_id)["volumes"][0]["file"] == file
    containers = engine(shop.machine(instance_id), "/containers/json?all=1")
    assert [c["Names"] for c in containers] == [["/web"]]
    until(lambda: shop.health() == [("InService", "N/A", "N/A")] * 2)


def test_a_call_of_unknown_outcome_was_made_after_all(shop):
    since = shop.control("calls")["next"]
    fault = {"service": "opsworks", "operation": "CreateApp", "region": REGION, "error": "InternalFailure"}
    shop.control("faults", {**fault, "after": True, "times": 1})
    app = {"StackId": shop.stack, "Name": "amazing application", "Type": "other"}
    with pytest.raises(ClientError) as failed:
        shop.opsworks.create_app(**app)
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert [a["Name"] for a in shop.opsworks.describe_apps(StackId=shop.stack)["Apps"]] == ["amazing application"]
    calls = [c for c in shop.control(f"calls?since={since}")["calls"] if c["region"] == REGION]
    assert [(c["operation"], c["status"]) for c in calls] == [("CreateApp", 500), ("DescribeApps", 200)]


def test_reads_can_lag_behind_writes(shop):
    fault = shop.control("faults", {"service": "opsworks", "region": REGION, "lag": 30})["id"]
    try:
        made = shop.opsworks.create_app(StackId=shop.stack, Name="late", Type="other")["AppId"]
        with pytest.raises(ClientError, match="Unable to find app"):
            shop.opsworks.describe_apps(AppIds=[made])
    finally:
        shop.control(f"faults/{fault}", method="DELETE")
    assert shop.opsworks.describe_apps(AppIds=[made])["Apps"]


def test_throttling_looks_like_aws(shop):
    fault = {"region": REGION, "times": 1}
    shop.control("faults", {**fault, "service": "opsworks", "error": "ThrottlingException"})
    with pytest.raises(ClientError, match="ThrottlingException.*Rate exceeded"):
        shop.opsworks.describe_stacks()
    shop.control("faults", {**fault, "service": "elb", "error": "Throttling"})
    with pytest.raises(ClientError, match="Throttling.*Rate exceeded"):
        shop.elb.describe_load_balancers()


def test_a_deleted_instance_takes_its_volume_along(shop):
    instance_id = shop.ids[1]
    file = Path(shop.machine(instance_id)["volumes"][0]["file"])
    shop.opsworks.stop_instance(InstanceId=instance_id)
    until(lambda: shop.status(instance_id) == "stopped", 30)
    shop.opsworks.delete_instance(InstanceId=instance_id)
    until(lambda: not file.exists())
    with pytest.raises(ClientError, match="Unable to find instance"):
        shop.status(instance_id)
