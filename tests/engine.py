"""An instance whose Docker engine tests/docker_engine.rs may have for itself; prints the environment that names it.

Run with the environment of localstack/up. The instance goes with its stack: POST /_evenkeel/reset.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request

import boto3

ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
CERTS = os.environ["EVENKEEL_DOCKER_CERT_PATH"]
REGION = "us-west-2"
IMAGE = "shop/busybox:1.0"
BOOTED_WITHIN = 90  # seconds


def boot() -> str:
    """The address of an instance that is online."""
    account = "arn:aws:iam::123456789012"
    opsworks = boto3.client("opsworks", region_name=REGION)
    stack = opsworks.create_stack(
        Name="engine",
        Region=REGION,
        ServiceRoleArn=f"{account}:role/aws-opsworks-service-role",
        DefaultInstanceProfileArn=f"{account}:instance-profile/aws-opsworks-ec2-role",
    )["StackId"]
    layer = opsworks.create_layer(StackId=stack, Type="custom", Name="Engine", Shortname="engine")["LayerId"]
    instance = opsworks.create_instance(
        StackId=stack, LayerIds=[layer], InstanceType="t3.medium", Hostname="engine1"
    )["InstanceId"]
    opsworks.start_instance(InstanceId=instance)
    end = time.monotonic() + BOOTED_WITHIN
    while time.monotonic() < end:
        found = next(i for i in instances() if i["instance_id"] == instance)
        if found["status"] == "online":
            return found["address"]
        time.sleep(0.3)
    sys.exit(f"the engine's instance was {found['status']}, and not online, after {BOOTED_WITHIN} s")


def instances() -> list[dict]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{ENDPOINT}/_evenkeel/instances", timeout=10) as answer:
        return json.load(answer)


def give_image(engine: str) -> None:
    names = {"cacert": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
    tls = ["--tlsverify", *(f"--tls{name}={CERTS}/{file}" for name, file in names.items())]
    save = subprocess.Popen(["docker", "save", IMAGE], stdout=subprocess.PIPE)
    subprocess.run(["docker", "-H", f"tcp://{engine}", *tls, "load"], stdin=save.stdout, stdout=sys.stderr, check=True)
    if save.wait():
        sys.exit(f"docker save {IMAGE} failed")


engine = f"{boot()}:2376"
give_image(engine)
print(f"export EVENKEEL_TEST_ENGINE={engine} EVENKEEL_TEST_IMAGE={IMAGE}")
