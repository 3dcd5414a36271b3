"""An EC2 instance that boots, runs its user-data, reads its secret, serves its engine, grows, and goes: all of it real."""

import os
import re
import subprocess
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from conftest import REGION, until
from ec2_ground import tagged
from ec2_machine import DEVICE, PARAMETER, STACK, Ground
from test_end_to_end import HERE, sh, state_directory

OTHER = "111111111111"


@pytest.fixture(scope="module")
def fast(control):
    before = control("config")
    control("config", {"state_delay": 0.1, "status_check_delay": 0.5, "impaired_after": 1, "volume_optimizing": 0.3,
                       "volume_modification_interval": 0})  # fmt: skip
    yield
    control("config", before)


def as_arguments(keys: dict) -> dict:
    names = {"AccessKeyId": "aws_access_key_id", "SecretAccessKey": "aws_secret_access_key", "SessionToken": "aws_session_token"}
    return {word: keys[name] for name, word in names.items()}


@pytest.fixture(scope="module")
def ground(client, control, fast, tmp_path_factory):
    files = state_directory() / "volumes"
    before = set(os.listdir(files)) if files.exists() else set()
    try:
        ground = Ground(client, control, tmp_path_factory.mktemp("ec2"))
        yield ground
    finally:
        control("faults", method="DELETE")
        client("ec2").delete_key_pair(KeyName=STACK)
        client("ssm").delete_parameter(Name=PARAMETER)
        control("reset", {"stack": STACK})
    # Nothing of it is left.
    assert not sh("docker", "ps", "-aq", "--filter", f"label=evenkeel.ec2-instance={ground.id}")
    assert set(os.listdir(files)) <= before
    assert ground.id not in sh("docker", "volume", "ls", "-q")


def test_user_data_makes_a_volume_an_engine_and_a_name(ground):
    console = ground.console()
    assert "user-data begins" in console and f"role shop in {REGION}a" in console and "user-data done" in console, console
    assert "scripts_user" not in console, console
    assert ground.answers()
    assert '"Name":"docker1"' in ground.engine("/info")
    assert ground.inside("df -h --output=size /var/lib/docker").split()[1] == "120G"
    assert "Calling GET /info" in Path(ground.machine()["engine_log"]).read_text()


def test_an_instance_is_listed_with_its_marks(ground):
    machine = ground.machine()
    assert (machine["provider"], machine["stack"], machine["hostname"], machine["status"]) == ("ec2", STACK, "docker1", "running")
    assert machine["address"] == ground.describe()["PrivateIpAddress"]
    assert [v["device"] for v in machine["volumes"]] == [DEVICE]


def test_nothing_but_ssm_gave_the_engine_its_certificate(ground):
    mounts = sh("docker", "inspect", "-f", "{{range .Mounts}}{{.Source}} {{end}}", ground.machine()["container"])
    assert "tls" not in mounts and "pki" not in mounts.replace("/pki/ca.pem", "")
    calls = [c for c in ground.control("calls")["calls"] if c["operation"] == "PutParameter"]
    assert calls[-1]["request"]["Value"] == "*****"


def test_metadata_is_not_told_without_a_session_token(ground):
    code = "curl -s -o /dev/null -w '%{http_code}' "
    assert ground.inside(code + "http://169.254.169.254/latest/meta-data/") == "401"
    assert ground.inside(code + "-X PUT http://169.254.169.254/latest/api/token") == "400"
    assert ground.inside(code + "-X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 9' -H 'X-Forwarded-For: 10.0.0.9' "
                         "http://169.254.169.254/latest/api/token") == "403"  # fmt: skip


def test_the_key_pair_lets_its_owner_in_who_may_use_the_engine(ground):
    assert ground.ssh("docker info --format '{{.Name}}' && sudo -n id -un").split() == ["docker1", "root"]
    fingerprint = sh("ssh-keygen", "-lf", str(ground.directory / "known_hosts")).split()[1]
    assert fingerprint in ground.console()


def test_the_api_goes_and_comes_back_while_the_instance_goes_on(ground):
    before = (ground.machine(), ground.describe(), ground.ssm.get_parameter(Name=PARAMETER, WithDecryption=True)["Parameter"])
    ask = "curl -s -m 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' http://169.254.169.254/latest/api/token"
    token = ground.inside(ask)
    subprocess.run([HERE / "stop-api"], check=True)
    subprocess.run([HERE / "start-api"], check=True)
    after = (ground.machine(), ground.describe(), ground.ssm.get_parameter(Name=PARAMETER, WithDecryption=True)["Parameter"])
    assert after == before
    assert ground.answers()
    # A session that began before the restart is still good.
    ask = f"curl -s -m 2 -H 'X-aws-ec2-metadata-token: {token}' http://169.254.169.254/latest/meta-data/instance-id"
    assert ground.inside(ask) == ground.id


def test_a_volume_grows_under_the_running_engine(ground):
    device = "blockdev --getsize64 /dev/xvdf"
    assert int(ground.inside(device)) == 120 << 30
    ground.ec2.modify_volume(VolumeId=ground.volume(), Size=200)

    def modification() -> str:
        found = ground.ec2.describe_volumes_modifications(VolumeIds=[ground.volume()])["VolumesModifications"]
        return found[0]["ModificationState"]

    until(lambda: modification() == "completed")
    assert int(ground.inside(device)) == 200 << 30
    assert ground.inside("df -h --output=size /var/lib/docker").split()[1] == "120G"
    ground.inside("xfs_growfs /var/lib/docker")
    assert ground.inside("df -h --output=size /var/lib/docker").split()[1] == "200G"
    assert ground.answers()


def test_a_volume_comes_to_a_running_instance_and_is_busy_while_it_is_mounted(ground):
    volume_id = ground.ec2.create_volume(
        AvailabilityZone=f"{REGION}a", Size=1, VolumeType="gp3", TagSpecifications=tagged("volume", evenkeel__stack=STACK)
    )["VolumeId"]

    def attachment() -> str | None:
        found = ground.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]["Attachments"]
        return found[0]["State"] if found else None

    def attach() -> None:
        ground.ec2.attach_volume(VolumeId=volume_id, InstanceId=ground.id, Device="/dev/sdg")
        until(lambda: attachment() == "attached")

    attach()
    ground.inside("mkfs.ext4 -q /dev/xvdg && mkdir -p /srv && mount /dev/xvdg /srv && echo kept >/srv/file && sync")
    ground.ec2.detach_volume(VolumeId=volume_id)
    until(lambda: attachment() == "busy")
    assert ground.inside("cat /srv/file; ls /dev/xvdg 2>&1 || true").startswith("kept\nls: cannot access")
    ground.inside("umount /srv")
    until(lambda: attachment() is None)

    # By force it is gone from under its file system, and is itself unharmed.
    attach()
    ground.inside("mount /dev/xvdg /srv")
    ground.ec2.detach_volume(VolumeId=volume_id, Force=True)
    until(lambda: attachment() is None)
    assert "Input/output error" in ground.inside("cat /srv/file 2>&1 || true; touch /srv/new 2>&1 || true")
    attach()
    assert ground.inside("mkdir -p /mnt/again && mount /dev/xvdg /mnt/again && cat /mnt/again/file").strip() == "kept"
    ground.inside("umount /mnt/again /srv")
    ground.ec2.detach_volume(VolumeId=volume_id)
    until(lambda: attachment() is None)
    ground.ec2.delete_volume(VolumeId=volume_id)


def test_a_unit_is_restarted_and_keeps_its_configuration_until_it_is_read_again(ground):
    unit = "[Service]\\nExecStart=/bin/sleep {}\\nRestart=always\\nRestartSec=100ms\\n"
    file = "/etc/systemd/system/napper.service"
    ground.inside(f"printf '{unit.format(1001)}' >{file} && systemctl start napper")
    main = lambda: ground.inside("systemctl show -p MainPID --value napper").strip()  # noqa: E731
    first = main()
    ground.inside(f"kill -9 {first}")
    until(lambda: main() not in ("0", first))
    ground.inside(f"printf '{unit.format(1002)}' >{file} && systemctl restart napper")
    assert "1001" in ground.inside(f"tr '\\0' ' ' </proc/{main()}/cmdline")
    ground.inside("systemctl daemon-reload && systemctl restart napper")
    assert "1002" in ground.inside(f"tr '\\0' ' ' </proc/{main()}/cmdline")
    ground.inside("systemctl stop napper")
    assert ground.inside("systemctl is-active napper || true").strip() == "inactive"


def test_a_unit_that_cannot_start_says_so(ground):
    file = "/etc/systemd/system/broken.service"
    said = ground.inside(
        f"printf '[Service]\\nType=notify\\nExecStart=/bin/false\\nRestart=on-failure\\n' >{file}; systemctl start broken 2>&1; echo $?"
    )
    assert "Job for broken.service failed" in said and said.strip().endswith("1")
    until(lambda: ground.inside("systemctl is-active broken || true").strip() == "failed", 20)
    assert "Start request repeated too quickly" in ground.inside("journalctl -u broken --no-pager")


def test_a_reboot_brings_engine_and_volumes_back_and_runs_no_user_data(ground):
    boots = ground.console().count("running 'init'")
    ground.ec2.reboot_instances(InstanceIds=[ground.id])
    until(lambda: ground.console().count("running 'init'") == boots + 1, 40)
    until(ground.answers, 30)
    assert ground.console().count("user-data begins") == 1
    assert ground.inside("df -h --output=size /var/lib/docker").split()[1] == "200G"
    assert ground.inside("hostname").strip() == "docker1"


def test_a_stopped_instance_keeps_its_disk_and_frees_its_devices(ground):
    file, address = ground.machine()["volumes"][0]["file"], ground.machine()["address"]
    ground.inside("echo kept >/root/file")
    ground.ec2.stop_instances(InstanceIds=[ground.id])
    until(lambda: ground.state() == "stopped", 40)
    assert file not in sh("losetup", "--list", "--noheadings", "--output", "BACK-FILE")
    ground.ec2.start_instances(InstanceIds=[ground.id])
    until(lambda: ground.state() == "running", 20)
    until(ground.answers, 30)
    assert ground.machine()["address"] == address
    assert ground.inside("cat /root/file").strip() == "kept"
    # The host key is the instance's for life: known_hosts has it from the first boot.
    assert ground.ssh("hostname") == "docker1"


@pytest.mark.parametrize("blow, remedy", [("kill", "start"), ("pause", "unpause")])
def test_a_machine_that_dies_or_freezes_is_running_and_impaired(ground, blow, remedy):
    container = ground.machine()["container"]
    until(lambda: ground.checks() == ("ok", "ok"))
    sh("docker", blow, container)
    until(lambda: ground.checks() == ("ok", "impaired"))
    assert ground.state() == "running"
    sh("docker", remedy, container)
    until(lambda: ground.checks() == ("ok", "ok"))
    until(ground.answers, 30)


def test_what_user_data_leaves_undone_can_be_read_from_outside(ground, control):
    failing = ground.launch("#!/bin/bash\necho about to fail\nexit 7\n")
    console = lambda: ground.ec2.get_console_output(InstanceId=failing, Latest=True)["Output"]  # noqa: E731
    until(lambda: "finished" in console(), 40)
    assert "about to fail" in console() and "part-001 exited 7" in console()
    ground.ec2.terminate_instances(InstanceIds=[failing])
    until(lambda: failing not in [m["ec2_instance_id"] for m in control("instances")], 30)


def test_one_zone_can_be_without_capacity(ground, control):
    subnets = ground.ec2.describe_subnets(Filters=[{"Name": "availability-zone", "Values": [f"{REGION}b"]}])["Subnets"]
    control("faults", {"service": "ec2", "operation": "RunInstances", "region": REGION, "match": subnets[0]["SubnetId"],
                       "error": "InsufficientInstanceCapacity"})  # fmt: skip
    with pytest.raises(ClientError) as refused:
        ground.launch("", SubnetId=subnets[0]["SubnetId"])
    assert refused.value.response["Error"]["Code"] == "InsufficientInstanceCapacity"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
    control("faults", method="DELETE")


def test_a_launch_of_unknown_outcome_is_repeated_without_a_second_instance(ground, control):
    control("faults", {"service": "ec2", "operation": "RunInstances", "region": REGION, "error": "InternalError", "after": True,
                       "times": 1})  # fmt: skip
    token = re.sub(r"\W", "", f"e2e{ground.id}")
    with pytest.raises(ClientError):
        ground.launch("", ClientToken=token)
    again = ground.launch("", ClientToken=token)
    found = ground.ec2.describe_instances(Filters=[{"Name": "client-token", "Values": [token]}])["Reservations"]
    assert [i["InstanceId"] for r in found for i in r["Instances"]] == [again]
    ground.ec2.terminate_instances(InstanceIds=[again])


def test_a_role_of_another_account_leads_there_and_can_be_denied(ground, control, client):
    sts = client("sts")
    assume = lambda role: sts.assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/{role}", RoleSessionName="evenkeel")  # noqa: E731
    keys = assume("evenkeel")["Credentials"]
    there = boto3.client("ec2", region_name=REGION, **as_arguments(keys))
    assert there.describe_subnets()["Subnets"][0]["OwnerId"] == OTHER
    assert not there.describe_instances()["Reservations"]
    control("faults", {"service": "sts", "operation": "AssumeRole", "match": f"{OTHER}:role/denied", "error": "AccessDenied"})
    with pytest.raises(ClientError) as refused:
        assume("denied")
    assert refused.value.response["Error"]["Code"] == "AccessDenied"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert assume("evenkeel")["Credentials"]
    control("faults", method="DELETE")


def test_credentials_of_an_assumed_role_expire(control, fast, client):
    control("config", {"assumed_role_seconds": 1})
    keys = client("sts").assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/evenkeel", RoleSessionName="evenkeel")["Credentials"]
    there = boto3.client("ec2", region_name=REGION, config=Config(retries={"total_max_attempts": 1}), **as_arguments(keys))
    there.describe_vpcs()

    def refusal() -> str | None:
        try:
            there.describe_vpcs()
        except ClientError as error:
            return error.response["Error"]["Code"]

    until(lambda: refusal() == "RequestExpired", 5)


def test_operations_that_are_not_here_are_localstacks_own(ground):
    zones = ground.ec2.describe_availability_zones()["AvailabilityZones"]
    assert f"{REGION}a" in [zone["ZoneName"] for zone in zones]


def test_a_terminated_instance_takes_its_volumes_along(ground):
    volume_id, container = ground.volume(), ground.machine()["container"]
    ground.ec2.terminate_instances(InstanceIds=[ground.id])
    until(lambda: ground.state() == "terminated", 40)
    assert ground.ec2.describe_instances(InstanceIds=[ground.id])["Reservations"]
    with pytest.raises(ClientError, match="InvalidVolume.NotFound"):
        ground.ec2.describe_volumes(VolumeIds=[volume_id])
    assert not sh("docker", "ps", "-aq", "--filter", f"name={container}")
