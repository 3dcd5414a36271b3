"""The shop on plain EC2, behind an application load balancer: another Stack, the same App to the letter."""

import os
import subprocess
import sys
from pathlib import Path

import boto3

import ground
import opsworks

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "localstack"))
import balance  # noqa: E402

FILES = [opsworks.EXAMPLES / "shop-on-ec2.yaml", *opsworks.FILES]
STACK = BALANCER = "shop"
LOOKS = ("DescribeInstances", "elbv2")
# A change that only new instances can have.
REFRESH = ("type: t3.medium", "type: t3.large")
MEMORY_BELOW = 100  # MB, as for OpsWorks


def clear() -> bool:
    """Removes what an earlier run left, instances included. Tells whether there was anything."""
    ours = [i for i in ground.ask("instances") if i.get("provider") == "ec2" and i["stack"] == STACK]
    there = [b for b in ground.ask("loadbalancers") if b["name"] == BALANCER and b["kind"] == "application"]
    if ours or there:
        ground.ask("reset", {"stack": STACK})
        balance.delete(BALANCER)
    return bool(ours or there)


def prepare(program: Path, directory: Path) -> dict:
    """A load balancer and its target group, and the engines' certificate where instances fetch it: what the controller
    is to be given besides."""
    # Not tagged as the stack's: it is somebody else's, and only joined.
    balance.create(BALANCER, path="/", draining=60)
    certificates = directory / "certificates"
    region = boto3.client("ec2").meta.region_name
    command = [program, "certs", "--dir", certificates, "--stack", STACK, "--put", "--region", region]
    done = subprocess.run(command, text=True, capture_output=True, env=os.environ | {"NO_COLOR": "1"})
    if done.returncode:
        raise RuntimeError(f"evenkeel certs: {done.stderr.strip()}")
    return {"EVENKEEL_DOCKER_CERT_PATH": str(certificates)}


def manifest() -> str:
    """The example with the names that this AWS has, and the App of the other provider's example as it stands."""
    vpc, subnets = balance.subnets()
    ec2 = boto3.client("ec2")
    groups = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["SecurityGroups"]
    stack = FILES[0].read_text()
    for old, new in (
        ("subnetIds: [subnet-0a1b2c3d4e5f60718, subnet-0b1c2d3e4f5061728]", f"subnetIds: [{', '.join(subnets)}]"),
        ("[sg-0a1b2c3d4e5f60718]", f"[{groups[0]['GroupId']}]"),
        ("{transport: tls, port: 2376}", f"{{transport: tls, port: 2376, ssmEndpoint: \"{ground.ENDPOINT_OF_INSTANCES}\"}}"),
    ):
        if stack.count(old) != 1:
            raise RuntimeError(f"{FILES[0].name} should have {old} exactly once")
        stack = stack.replace(old, new)
    _, app = opsworks.manifest().split("\n---\n")
    return f"{stack}\n---\n{app}"


def balancer() -> dict:
    return next(b for b in ground.ask("loadbalancers") if (b["name"], b["kind"]) == (BALANCER, "application"))


def instances() -> list[dict]:
    return [i for i in ground.ask("instances") if i.get("provider") == "ec2" and i["stack"] == STACK]
