"""The shop on OpsWorks, behind a classic load balancer."""

from pathlib import Path

import boto3

import ground

EXAMPLES = Path(__file__).resolve().parent.parent / "deploy/examples"
FILES = [EXAMPLES / "shop.yaml"]
STACK = BALANCER = "shop"
# The calls that begin a whole look: of the provider, and of the load balancers' API.
LOOKS = ("DescribeStacks", "elb")
# What a release of the instances themselves would be: nothing, OpsWorks changes the type of a stopped instance only.
REFRESH = None
MEMORY_BELOW = 100  # MB, of a build that is not optimised: all but a dozen of that are the program's own pages


def clear(name: str = STACK) -> bool:
    """Removes what an earlier run left of the stack and the load balancer of that name, instances included. Tells
    whether there was anything."""
    found = _stacks(name)
    for one in found:
        ground.ask("reset", {"stack": one["StackId"]})
    if any(b["name"] == name and b["kind"] == "classic" for b in ground.ask("loadbalancers")):
        boto3.client("elb").delete_load_balancer(LoadBalancerName=name)
        return True
    return bool(found)


def prepare(_program: Path, _directory: Path) -> dict:
    make_balancer(BALANCER)
    return {}


def make_balancer(name: str) -> None:
    """A classic load balancer as one would make it in the console."""
    elb = boto3.client("elb")
    http = {"Protocol": "HTTP", "LoadBalancerPort": 80, "InstanceProtocol": "HTTP", "InstancePort": 80}
    check = {"Target": "HTTP:80/", "Interval": 5, "Timeout": 2, "UnhealthyThreshold": 2, "HealthyThreshold": 2}
    draining = {"ConnectionDraining": {"Enabled": True, "Timeout": 60}}
    zones = [f"{elb.meta.region_name}a"]
    elb.create_load_balancer(LoadBalancerName=name, Listeners=[http], AvailabilityZones=zones)
    elb.configure_health_check(LoadBalancerName=name, HealthCheck=check)
    elb.modify_load_balancer_attributes(LoadBalancerName=name, LoadBalancerAttributes=draining)


def manifest() -> str:
    return FILES[0].read_text()


def balancer(name: str = BALANCER) -> dict:
    return next(b for b in ground.ask("loadbalancers") if (b["name"], b["kind"]) == (name, "classic"))


def instances(name: str = STACK) -> list[dict]:
    ids = {s["StackId"] for s in _stacks(name)}
    return [i for i in ground.ask("instances") if i["stack"] in ids]


def _stacks(name: str) -> list[dict]:
    return [s for s in boto3.client("opsworks").describe_stacks()["Stacks"] if s["Name"] == name]
