"""The control endpoints of EC2: what is really there, and what a test wants AWS to say."""

import json

from .. import paths
from . import credentials, network, status
from ..testbed import store


def instances(tables: dict) -> list[dict]:
    """As `GET instances` tells them; terminated ones have no machine and are not among them."""
    return [_instance(tables, i) for i in tables["ec2_instances"].values() if i["State"] != "terminated"]


def on_status(request, instance_id: str) -> dict:
    """`{"system": "impaired", "instance": null}`: what the status checks say, null being what they find."""
    status.tell(instance_id, _body(request))
    return {}


def on_subnet(request, subnet_id: str) -> dict:
    """`{"free": 0}`: so many addresses are left; null for what the size of the subnet gives."""
    free = _body(request).get("free")
    if free is not None and not (isinstance(free, int) and free >= 0):
        raise ValueError("free is a number of addresses, or null")
    with store.change() as tables:
        subnet = tables["ec2_subnets"][subnet_id]
        network.set_free_addresses(tables, subnet, free)
        return {"free": network.free_addresses(tables, subnet)}


def on_credentials(request, instance_id: str) -> dict:
    """Lets the credentials that the instance has expire now."""
    with store.read() as tables:
        tables["ec2_instances"][instance_id]
    credentials.expire(instance_id)
    return {}


ROUTES = {
    "ec2/instances/<instance_id>/status": on_status,
    "ec2/instances/<instance_id>/expire-credentials": on_credentials,
    "ec2/subnets/<subnet_id>": on_subnet,
}


def _instance(tables: dict, instance: dict) -> dict:
    instance_id = instance["InstanceId"]
    machine = tables["machines"].get(instance_id, {})
    return {
        "provider": "ec2",
        "instance_id": instance_id,
        "ec2_instance_id": instance_id,
        "account": instance["_account"],
        "region": instance["_region"],
        "hostname": instance["Tags"].get("evenkeel:hostname"),
        "stack": instance["Tags"].get("evenkeel:stack"),
        "address": instance["PrivateIpAddress"],
        "container": machine.get("container"),
        "engine_log": str(paths.engine_log(instance_id)),
        "console_log": str(paths.console_log(instance_id)),
        "volumes": [{k: v[k] for k in ("file", "loop", "device")} for v in machine.get("volumes", [])],
        "status": instance["State"],
    }


def _body(request) -> dict:
    body = json.loads(request.get_data() or b"{}")
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body
