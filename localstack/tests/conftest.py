"""Rooms are tested in this process over a store of their own, with machines and HAProxy replaced; the end-to-end
tests talk to the running LocalStack, in a region that nobody else uses, and put back what they change."""

import json
import os
import time
import urllib.request

import boto3
import pytest
from botocore.config import Config

REGION = "eu-central-1"


def until(condition, seconds: float = 15, every: float = 0.05):
    """The first truthy value of `condition`, or an AssertionError with the last value when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s; last value {value!r}"
        time.sleep(every)


class Control:
    """The plug-in's own endpoints."""

    def __init__(self, endpoint: str):
        self.base = f"{endpoint}/_evenkeel/"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def __call__(self, path: str, body=None, method: str | None = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data=data, method=method)
        with self.opener.open(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def endpoint() -> str:
    url = os.environ.get("AWS_ENDPOINT_URL")
    if not url:
        pytest.skip("the proving ground is not up: run localstack/test")
    return url


@pytest.fixture(scope="session")
def control(endpoint) -> Control:
    return Control(endpoint)


@pytest.fixture(scope="session")
def client(endpoint):
    def make(service: str, region: str = REGION):
        return boto3.client(service, region_name=region, config=Config(retries={"total_max_attempts": 1}))

    return make


class Rooms:
    """The providers' handlers over an empty store, called as LocalStack calls them."""

    def __init__(self, handlers: dict):
        self.handlers = handlers

    def __call__(self, operation: str, region: str = REGION, **request) -> dict:
        class Context:
            pass

        context = Context()
        context.region = region
        return self.handlers[operation](context, request)


@pytest.fixture
def rooms(monkeypatch, tmp_path):
    from localstack.aws.spec import load_service

    from evenkeel_testbed import haproxy, machines, paths, providers, registration, servers, store, testbed

    # Never put back: a thread that outlives its test must not write to the state of the running LocalStack.
    with testbed.store.lock:
        testbed.store.path = tmp_path / "state.json"
        testbed.store.tables = store.empty()
        testbed.store.tables["config"]["state_delay"] = 0.02
    monkeypatch.setattr(paths, "VOLUMES", tmp_path / "volumes")
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")

    for name, result in {"launch": None, "wait_engine": True, "restart": None, "running": True}.items():
        monkeypatch.setattr(machines, name, lambda *a, _result=result, **k: _result)
    monkeypatch.setattr(machines, "stop", lambda machine, grace=0: None)
    monkeypatch.setattr(machines, "terminate", lambda machine, delete_volumes: None)
    for name in ("stop", "fill", "drain", "undrain", "accept", "empty"):
        monkeypatch.setattr(haproxy, name, lambda *a: None)
    for name, result in {"launch": None, "answers": True, "remove": None}.items():
        monkeypatch.setattr(servers, name, lambda record, _result=result: _result)
    monkeypatch.setattr(registration, "start", lambda record: None)
    slots = {slot: {"status": "UP", "sessions": 0, "check": "L7OK"} for slot in range(1, haproxy.SLOTS + 1)}
    monkeypatch.setattr(haproxy, "servers", lambda balancer: slots)

    handlers = {}
    for service, operations in (
        ("opsworks", providers.OPSWORKS), ("elb", providers.ELB), ("elbv2", providers.ELBV2), ("rds", providers.RDS)
    ):  # fmt: skip
        spec = load_service(service)
        for name, function in operations.items():
            key = f"{service}:{name}" if service == "elbv2" or name in handlers else name
            handlers[key] = providers.answered(spec.operation_model(name), function, strict=service != "elb")
    rooms = Rooms(handlers)
    rooms.slots = slots
    return rooms
