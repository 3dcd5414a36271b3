"""The proving ground as the demo meets it: what LocalStack and the engines received, and what its balancers count."""

import csv
import io
import json
import os
import re
import socket
import urllib.request

import boto3

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
NUMBER = int(os.environ.get("EVENKEEL_TESTBED_NUMBER") or 0)
# Where instances reach the AWS API: the gateway of their network.
ENDPOINT_OF_INSTANCES = f"http://10.{213 + NUMBER}.0.1:{4566 + NUMBER}"
READS = ("Describe", "List", "Get", "Head")
ENGINE_CALL = re.compile(r"Calling (GET|HEAD|POST|PUT|DELETE) (\S+?)\"?$", re.MULTILINE)


def ask(path: str, body: dict | None = None, method: str | None = None):
    """The plug-in's own endpoints, see localstack/README.md."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{ENDPOINT}/_evenkeel/{path}", data, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as answer:
        return json.load(answer)


class Balancer:
    """Counts the requests that have come through a load balancer, for the eye; what counts is wrk's own result."""

    def __init__(self, balancer: dict):
        self.socket = balancer["haproxy_socket"]
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

    def __init__(self, provider):
        self.looks = provider.LOOKS
        self.region = boto3.client("ec2").meta.region_name
        self.logs = [i["engine_log"] for i in provider.instances() if i["engine_log"]]
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
        operation, service = self.looks
        cloud = [c["time"] for c in calls if c["operation"] == operation]
        balancers = [c["time"] for c in calls if c["service"] == service]
        looked = {log for log, method, path in self.engines() if method == "GET" and "/containers/json" in path}
        return max(cloud[0], balancers[0]) if cloud and balancers and looked == set(self.logs) else None

    def mutations(self) -> list[str]:
        aws = [f"{c['service']} {c['operation']}" for c in self.aws() if not c["operation"].startswith(READS)]
        return aws + [f"engine {method} {path}" for _, method, path in self.engines() if method not in ("GET", "HEAD")]
