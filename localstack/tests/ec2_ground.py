"""EC2's and SSM's operations over a store of their own, with machines that are only pretended."""

import base64
import threading
from types import SimpleNamespace

import pytest
from localstack.aws.spec import load_service

from conftest import REGION, until

AL2023 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
ACCOUNT = "000000000000"
VOLUME = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 120, "VolumeType": "gp3", "Encrypted": True}}


class Cloud:
    def __init__(self):
        from evenkeel_testbed.ec2 import provider

        self.handlers = {}
        for service, operations in (("ec2", provider.EC2), ("ssm", provider.SSM)):
            spec = load_service(service)
            self.handlers.update({n: provider.answered(spec.operation_model(n), f) for n, f in operations.items()})

    def __call__(self, operation: str, account: str = ACCOUNT, region: str = REGION, **request) -> dict:
        return self.handlers[operation](SimpleNamespace(account_id=account, region=region), request)

    def image(self, **where) -> str:
        return self("GetParameter", Name=AL2023, **where)["Parameter"]["Value"]

    def subnets(self, **where) -> list[dict]:
        found = self("DescribeSubnets", **where)["Subnets"]
        return sorted(found, key=lambda s: s["AvailabilityZone"])

    def launch(self, account: str = ACCOUNT, region: str = REGION, **more) -> dict:
        where = {"account": account, "region": region}
        request = {"ImageId": self.image(**where), "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.medium", **more}
        return self("RunInstances", **where, **request)["Instances"][0]

    def running(self, **more) -> str:
        instance_id = self.launch(**more)["InstanceId"]
        self.reaches(instance_id, "running")
        return instance_id

    def described(self, instance_id: str) -> dict:
        return self("DescribeInstances", InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]

    def state(self, instance_id: str) -> str:
        return self.described(instance_id)["State"]["Name"]

    def reaches(self, instance_id: str, state: str) -> None:
        until(lambda: self.state(instance_id) == state, 5, 0.002)

    def all(self, **request) -> list[str]:
        found = self("DescribeInstances", **request)["Reservations"]
        return sorted(i["InstanceId"] for r in found for i in r["Instances"])


def tagged(kind: str, **tags) -> list[dict]:
    tags = [{"Key": key.replace("__", ":"), "Value": value} for key, value in tags.items()]
    return [{"ResourceType": kind, "Tags": tags}]


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def cloud(rooms, monkeypatch, tmp_path) -> Cloud:
    from evenkeel_testbed import paths, testbed, volumes
    from evenkeel_testbed.ec2 import containers

    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    monkeypatch.setattr(paths, "LOG", tmp_path / "log")
    monkeypatch.setattr(containers, "start", lambda machine, hop_limit=1: None)
    for name in ("stop", "appear", "disappear", "write_devices"):
        monkeypatch.setattr(containers, name, lambda *a: None)
    monkeypatch.setattr(volumes, "attach", lambda file: "/dev/loop9")
    monkeypatch.setattr(volumes, "attached", lambda file: None)
    # What another test wrote is not this one's past.
    testbed.store._snapshots.clear()
    testbed.store._parsed = None
    yield Cloud()
    # No walk may go on when the machines are real again.
    with testbed.store.change() as tables:
        tables["ec2_instances"].clear()
        tables["ec2_volumes"].clear()
    for thread in threading.enumerate():
        if thread.name.startswith(("walk-i-", "reboot-i-", "attach-", "detach-")):
            thread.join(10)
            assert not thread.is_alive(), thread.name
