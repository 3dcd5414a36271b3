"""The AWS side as the demo meets it: the load balancer that a stack expects, and what LocalStack and the
engines received."""

import csv
import io
import json
import os
import re
import socket
import urllib.request

import boto3

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
READS = ("Describe", "List", "Get", "Head")
ENGINE_CALL = re.compile(r"Calling (GET|HEAD|POST|PUT|DELETE) (\S+?)\"?$", re.MULTILINE)


def ask(path: str, body: dict | None = None, method: str | None = None):
    """The plug-in's own endpoints, see localstack/README.md."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{ENDPOINT}/_evenkeel/{path}", data, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as answer:
        return json.load(answer)


def stacks(name: str) -> list[dict]:
    return [s for s in boto3.client("opsworks").describe_stacks()["Stacks"] if s["Name"] == name]


def clear(stack: str, balancer: str) -> bool:
    """Removes what an earlier run left, instances included. Tells whether there was anything."""
    ask("faults", method="DELETE")
    found = stacks(stack)
    for one in found:
        ask("reset", {"stack": one["StackId"]})
    elb = boto3.client("elb")
    if any(b["name"] == balancer for b in ask("loadbalancers")):
        elb.delete_load_balancer(LoadBalancerName=balancer)
        return True
    return bool(found)


def create_balancer(name: str) -> str:
    """A classic load balancer as one would make it in the console; its address."""
    elb = boto3.client("elb")
    http = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstanceProtocol": "HTTP", "InstancePort": 80}
    check = {"Target": "HTTP:80/", "Interval": 5, "Timeout": 2, "UnhealthyThreshold": 2, "HealthyThreshold": 2}
    draining = {"ConnectionDraining": {"Enabled": True, "Timeout": 60}}
    elb.create_load_balancer(LoadBalancerName=name, Listeners=[http], Subnets=["subnet-0a1b2c3d4e5f60718"])
    elb.configure_health_check(LoadBalancerName=name, HealthCheck=check)
    elb.modify_load_balancer_attributes(LoadBalancerName=name, LoadBalancerAttributes=draining)
    # AWS checks every five seconds at most; here every second, so that nobody waits for the clock.
    ask("config", {"health_interval_override": 1})
    return next(b["address"] for b in ask("loadbalancers") if b["name"] == name)


class Balancer:
    """Counts the requests that have come through a load balancer, for the eye; what counts is wrk's own result."""

    def __init__(self, name: str):
        self.socket = next(b["haproxy_socket"] for b in ask("loadbalancers") if b["name"] == name)
        self.before = self._total()

    def requests(self) -> int:
        return self._total() - self.before

    def _total(self) -> int:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(self.socket)
            connection.sendall(b"show stat\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode().removeprefix("# ")
        rows = csv.DictReader(io.StringIO(text))
        return sum(int(row["req_tot"] or 0) for row in rows if row["svname"] == "FRONTEND")


class Ears:
    """What LocalStack and every engine of the fleet were asked for since a moment."""

    def __init__(self, stack: str):
        ids = {s["StackId"] for s in stacks(stack)}
        self.region = boto3.client("opsworks").meta.region_name
        self.logs = [i["engine_log"] for i in ask("instances") if i["stack"] in ids and i["engine_log"]]
        self.ends = {log: os.path.getsize(log) for log in self.logs}
        self.seq = ask("calls?since=999999999")["next"]

    def aws(self) -> list[dict]:
        return [c for c in ask(f"calls?since={self.seq}")["calls"] if c["region"] == self.region]

    def engines(self) -> list[tuple[str, str, str]]:
        """The log, the method and the path of every call. What a health check runs is the engine's own affair and
        no call."""
        calls = []
        for log in self.logs:
            with open(log, "rb") as file:
                file.seek(self.ends[log])
                text = file.read().decode(errors="replace")
            calls += [(log, method, path) for method, path in ENGINE_CALL.findall(text)]
        return calls

    def whole_look_at(self) -> float | None:
        """When the last read of a whole look at the fleet came in: every part of it was asked for."""
        calls = self.aws()
        cloud = [c["time"] for c in calls if c["operation"] == "DescribeStacks"]
        balancers = [c["time"] for c in calls if c["service"] == "elb"]
        looked = {log for log, method, path in self.engines() if method == "GET" and "/containers/json" in path}
        return max(cloud[0], balancers[0]) if cloud and balancers and looked == set(self.logs) else None

    def mutations(self) -> list[str]:
        aws = [f"{c['service']} {c['operation']}" for c in self.aws() if not c["operation"].startswith(READS)]
        return aws + [f"engine {method} {path}" for _, method, path in self.engines() if method not in ("GET", "HEAD")]
