"""The store, the recorded calls and the faults."""

import json

import pytest

from evenkeel_testbed.calls import Calls, masked
from evenkeel_testbed.faults import Faults, code_status_message
from evenkeel_testbed.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store(tmp_path / "state.json")
    made.load()
    return made


def test_a_new_process_finds_what_the_old_one_wrote(store):
    with store.change() as tables:
        tables["stacks"]["s"] = {"Name": "shop"}
    again = Store(store.path)
    again.load()
    assert again.tables["stacks"] == {"s": {"Name": "shop"}}


def test_a_change_that_fails_half_way_is_still_what_the_file_says(store):
    with pytest.raises(RuntimeError), store.change() as tables:
        tables["stacks"]["s"] = {}
        raise RuntimeError
    assert json.loads(store.path.read_text())["stacks"] == {"s": {}}


def test_a_lagging_read_sees_the_past(store, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("evenkeel_testbed.store.time.time", lambda: clock[0])
    with store.change() as tables:
        tables["stacks"]["old"] = {}
    clock[0] += 10
    with store.change() as tables:
        tables["stacks"]["new"] = {}
    clock[0] += 1
    with store.read(lag=5) as past:
        assert set(past["stacks"]) == {"old"}
    with store.read(lag=0.5) as present:
        assert set(present["stacks"]) == {"old", "new"}


def test_calls_are_numbered_and_their_secrets_masked():
    calls = Calls()
    calls.received("opsworks", "CreateApp", "eu-west-1", {"Environment": [{"Key": "K", "Value": "v", "Secure": True}]})
    calls.received("opsworks", "CreateStack", "eu-west-1", {"CustomCookbooksSource": {"Url": "u", "Password": "p"}})
    first, second = calls.since(0)["calls"]
    assert first["request"]["Environment"][0]["Value"] == "*****"
    assert second["request"]["CustomCookbooksSource"] == {"Url": "u", "Password": "*****"}
    assert [c["operation"] for c in calls.since(1)["calls"]] == ["CreateStack"]
    calls.reset()
    assert calls.since(0) == {"next": 2, "calls": []}


def test_masking_leaves_the_request_alone():
    request = {"DbPassword": "p"}
    masked(request)
    assert request == {"DbPassword": "p"}


def test_a_fault_fits_by_service_operation_region_and_content_and_wears_off():
    faults = Faults()
    fault = {"service": "opsworks", "operation": "Describe*", "region": "eu-west-1", "match": "docker1", "times": 2}
    faults.add({**fault, "error": "ThrottlingException"})
    assert faults.take("elb", "DescribeTags", "eu-west-1", {"x": "docker1"}) is None
    assert faults.take("opsworks", "CreateApp", "eu-west-1", {"x": "docker1"}) is None
    assert faults.take("opsworks", "DescribeApps", "us-east-1", {"x": "docker1"}) is None
    assert faults.take("opsworks", "DescribeApps", "eu-west-1", {}) is None
    for _ in range(2):
        hit = faults.take("opsworks", "DescribeApps", "eu-west-1", {"x": "docker1"})
        assert code_status_message(hit) == ("ThrottlingException", 400, "Rate exceeded")
    assert faults.take("opsworks", "DescribeApps", "eu-west-1", {"x": "docker1"}) is None


def test_a_fault_that_could_do_nothing_is_refused():
    for fault in ({"service": "elb"}, {"error": "X"}, {"service": "elb", "error": "X", "tmies": 1}):
        with pytest.raises(ValueError):
            Faults().add(fault)


def test_lag_is_not_an_error():
    faults = Faults()
    faults.add({"service": "opsworks", "lag": 3})
    assert faults.take("opsworks", "DescribeStacks", "eu-west-1", {}) is None
    assert faults.lag("opsworks", "eu-west-1") == 3
