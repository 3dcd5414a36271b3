"""An EC2 instance for real: what its user-data does, and what looks at it from outside and inside."""

import os
import socket
import ssl
from http.client import HTTPSConnection
from pathlib import Path

from conftest import REGION, until
from ec2_ground import AL2023, tagged
from evenkeel_testbed import paths, pki
from test_end_to_end import sh, state_directory

STACK = "ec2-e2e"
PARAMETER = f"/evenkeel/{STACK}/engine"
DEVICE = "/dev/sdf"

# What a bootstrap does, in short: a name, a volume, the engine's certificate out of SSM, its configuration, its start.
USER_DATA = r"""#!/bin/bash
set -eu
echo "user-data begins"
hostnamectl set-hostname docker1
until [ -b /dev/xvdf ]; do sleep 0.1; done
blkid /dev/xvdf >/dev/null || mkfs.xfs -q /dev/xvdf
mkdir -p /var/lib/docker
echo "UUID=$(blkid -o value -s UUID /dev/xvdf) /var/lib/docker xfs defaults,nofail 0 2" >>/etc/fstab
mount -a
install -d -m 700 /etc/evenkeel/tls
python3 - "$REGION" "$ENDPOINT" "$PARAMETER" <<'END'
import hashlib, hmac, json, re, sys, time, urllib.request
region, endpoint, parameter = sys.argv[1:]
def ask(url, method="GET", body=None, **headers):
    return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=10).read().decode()
imds = "http://169.254.169.254/latest/"
token = ask(imds + "api/token", "PUT", **{"X-aws-ec2-metadata-token-ttl-seconds": "60"})
meta = lambda path: ask(imds + "meta-data/" + path, **{"X-aws-ec2-metadata-token": token})
role = meta("iam/security-credentials/")
keys = json.loads(meta("iam/security-credentials/" + role))
body = json.dumps({"Name": parameter, "WithDecryption": True})
now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
headers = {"content-type": "application/x-amz-json-1.1", "host": endpoint.partition("://")[2], "x-amz-date": now,
           "x-amz-security-token": keys["Token"], "x-amz-target": "AmazonSSM.GetParameter"}
digest = lambda text: hashlib.sha256(text.encode()).hexdigest()
names = ";".join(headers)
canonical = "\n".join(["POST", "/", "", *map(":".join, headers.items()), "", names, digest(body)])
scope = f"{now[:8]}/{region}/ssm/aws4_request"
key = ("AWS4" + keys["SecretAccessKey"]).encode()
for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest(canonical)}"):
    key = hmac.digest(key, part.encode(), "sha256")
headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={keys['AccessKeyId']}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
bundle = json.loads(ask(endpoint + "/", "POST", body.encode(), **headers))["Parameter"]["Value"]
for name, text in zip(("cert", "key", "ca"), re.findall("-----BEGIN.+?-----END [A-Z ]+-----\n", bundle, re.S)):
    open(f"/etc/evenkeel/tls/{name}.pem", "w").write(text)
print("role", role, "in", meta("placement/availability-zone"))
END
cat >/etc/docker/daemon.json <<'END'
{"hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2376"], "tlsverify": true, "log-opts": {"max-size": "10m"},
 "tlscacert": "/etc/evenkeel/tls/ca.pem", "tlscert": "/etc/evenkeel/tls/cert.pem", "tlskey": "/etc/evenkeel/tls/key.pem"}
END
mkdir -p /etc/systemd/system/docker.service.d
cat >/etc/systemd/system/docker.service.d/evenkeel.conf <<'END'
[Unit]
RequiresMountsFor="/var/lib/docker"
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd --containerd=/run/containerd/containerd.sock
END
systemctl daemon-reload
systemctl enable --now docker
systemctl is-active docker
echo "user-data done" >>/dev/console
"""


class Ground:
    """One instance that has booted, and what looks at it from outside and inside."""

    def __init__(self, client, control, directory: Path):
        self.ec2, self.ssm, self.control, self.directory = client("ec2"), client("ssm"), control, directory
        pki.write_leaf(state_directory() / "pki", directory, "docker1", ["docker1"])
        bundle = "".join((directory / f"{name}.pem").read_text() for name in ("cert", "key", "ca"))
        self.ssm.put_parameter(Name=PARAMETER, Value=bundle, Type="SecureString", Overwrite=True)
        self.key = directory / "ops.pem"
        self.key.write_text(self.ec2.create_key_pair(KeyName=STACK, KeyType="ed25519")["KeyMaterial"])
        self.key.chmod(0o600)
        values = f"REGION={REGION} ENDPOINT=http://{paths.GATEWAY}:{paths.PORT} PARAMETER={PARAMETER}\n"
        self.id = self.launch(USER_DATA.replace("set -eu\n", f"set -eu\n{values}", 1))
        until(lambda: self.state() == "running", 20)
        until(lambda: "finished" in self.console(), 60)

    def launch(self, user_data: str, **more) -> str:
        image = self.ssm.get_parameter(Name=AL2023)["Parameter"]["Value"]
        volume = {"VolumeSize": 120, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True}
        request = {
            "BlockDeviceMappings": [{"DeviceName": DEVICE, "Ebs": volume}],
            "TagSpecifications": tagged("instance", evenkeel__stack=STACK, evenkeel__hostname="docker1")
            + tagged("volume", evenkeel__stack=STACK),
            **more,
        }
        return self.ec2.run_instances(
            ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.medium", KeyName=STACK, UserData=user_data,
            IamInstanceProfile={"Name": "shop"}, MetadataOptions={"HttpTokens": "required"}, **request,
        )["Instances"][0]["InstanceId"]  # fmt: skip

    def describe(self) -> dict:
        return self.ec2.describe_instances(InstanceIds=[self.id])["Reservations"][0]["Instances"][0]

    def state(self) -> str:
        return self.describe()["State"]["Name"]

    def checks(self) -> tuple:
        found = self.ec2.describe_instance_status(InstanceIds=[self.id])["InstanceStatuses"]
        return tuple(found[0][f"{check}Status"]["Status"] for check in ("System", "Instance")) if found else ()

    def console(self) -> str:
        return self.ec2.get_console_output(InstanceId=self.id, Latest=True)["Output"]

    def machine(self) -> dict:
        return next(m for m in self.control("instances") if m["ec2_instance_id"] == self.id)

    def inside(self, script: str) -> str:
        return sh("docker", "exec", self.machine()["container"], "bash", "-c", script)

    def volume(self) -> str:
        own = [{"Name": "attachment.instance-id", "Values": [self.id]}, {"Name": "attachment.device", "Values": [DEVICE]}]
        return self.ec2.describe_volumes(Filters=own)["Volumes"][0]["VolumeId"]

    def ssh(self, command: str) -> str:
        hosts = self.directory / "known_hosts"
        return sh(
            "ssh", "-i", str(self.key), "-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={hosts}",
            "-o", "BatchMode=yes", f"admin@{self.machine()['address']}", command,
        ).strip()  # fmt: skip

    def engine(self, path: str = "/_ping") -> str:
        """What the engine answers on its own address, under its own name, over mutual TLS."""
        client = Path(os.environ["EVENKEEL_DOCKER_CERT_PATH"])
        context = ssl.create_default_context(cafile=str(client / "ca.pem"))
        context.load_cert_chain(str(client / "cert.pem"), str(client / "key.pem"))
        connection = HTTPSConnection("docker1", 2376, timeout=5, context=context)
        address = self.machine()["address"]
        connection._create_connection = lambda _, *rest: socket.create_connection((address, 2376), *rest)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.engine() == "OK"
        except OSError:
            return False
