"""A layer's classic load balancer. OpsWorks registers the layer's instances when they come online and
deregisters them when they leave (user guide, "Elastic Load Balancing Layer")."""

from . import elb
from .errors import not_found, validation
from .resources import find, find_all, of_stack, reading, stack
from .testbed import store


def attach(region: str, request: dict) -> dict:
    """ "deregisters any currently registered instances", then registers the ones that are online."""
    name = request["ElasticLoadBalancerName"]
    with store.change() as tables:
        layer = find(tables, region, "layers", request["LayerId"])
        where = tables["stacks"][layer["StackId"]]["Region"]
        current = tables["attachments"].get(layer["LayerId"])
        if current and current["ElasticLoadBalancerName"] == name:
            return {}
        if current:
            raise validation(
                f"Layer {layer['LayerId']} already has the load balancer {current['ElasticLoadBalancerName']}; "
                "a layer can have only one"
            )
        if not elb.exists(where, name):
            raise not_found("Elastic Load Balancer", name)
        for other in tables["attachments"].values():
            if (other["ElasticLoadBalancerName"], other["Region"]) == (name, where):
                raise validation(f"Elastic Load Balancer {name} is already attached to layer {other['LayerId']}")
        tables["attachments"][layer["LayerId"]] = {
            "ElasticLoadBalancerName": name,
            "Region": where,
            "StackId": layer["StackId"],
            "LayerId": layer["LayerId"],
        }
        online = _online(tables, layer)
        foreign = [ec2_id for ec2_id in elb.registered(where, name) if ec2_id not in online]
    elb.deregister(where, name, foreign)
    elb.register(where, name, online)
    return {}


def detach(region: str, request: dict) -> dict:
    with store.change() as tables:
        layer = find(tables, region, "layers", request["LayerId"])
        current = tables["attachments"].get(layer["LayerId"])
        name = request["ElasticLoadBalancerName"]
        if current is None or current["ElasticLoadBalancerName"] != name:
            raise not_found("Elastic Load Balancer", name)
        del tables["attachments"][layer["LayerId"]]
        online = _online(tables, layer)
    elb.deregister(current["Region"], name, online)
    return {}


def describe(region: str, request: dict) -> dict:
    with reading(region) as tables:
        if bool(request.get("StackId")) == bool(request.get("LayerIds")):
            raise validation("Please provide one or more layer IDs or a stack ID")
        if request.get("StackId"):
            wanted = {"StackId": stack(tables, region, request["StackId"])["StackId"]}
            found = [a for a in tables["attachments"].values() if a["StackId"] == wanted["StackId"]]
        else:
            layers = find_all(tables, region, "layers", request["LayerIds"])
            found = [tables["attachments"][x["LayerId"]] for x in layers if x["LayerId"] in tables["attachments"]]
        return {"ElasticLoadBalancers": [_shown(tables, a) for a in found]}


def came_online(instance_id: str) -> None:
    for region, name, ec2_id, _ in _balancers(instance_id):
        elb.register(region, name, [ec2_id])


def going_offline(instance_id: str) -> tuple[str, str] | None:
    """Starts deregistering; gives the balancer to wait for, if the layer wants the shutdown delayed."""
    waiting = None
    for region, name, ec2_id, layer in _balancers(instance_id):
        elb.deregister(region, name, [ec2_id])
        if layer["LifecycleEventConfiguration"]["Shutdown"]["DelayUntilElbConnectionsDrained"]:
            waiting = (region, name)
    return waiting


def _balancers(instance_id: str) -> list[tuple[str, str, str, dict]]:
    with store.read() as tables:
        instance = tables["instances"].get(instance_id)
        if instance is None or not instance.get("Ec2InstanceId"):
            return []
        attached = [
            (tables["attachments"].get(layer_id), tables["layers"][layer_id])
            for layer_id in instance["LayerIds"]
        ]
        return [
            (a["Region"], a["ElasticLoadBalancerName"], instance["Ec2InstanceId"], layer)
            for a, layer in attached
            if a and elb.exists(a["Region"], a["ElasticLoadBalancerName"])
        ]


def _online(tables: dict, layer: dict) -> list[str]:
    return [
        instance["Ec2InstanceId"]
        for instance in of_stack(tables, "instances", layer["StackId"])
        if instance["Status"] == "online" and layer["LayerId"] in instance["LayerIds"]
    ]


def _shown(tables: dict, attachment: dict) -> dict:
    balancer = tables["balancers"].get(f"{attachment['Region']}/{attachment['ElasticLoadBalancerName']}") or {}
    return {
        **attachment,
        "DnsName": balancer.get("DNSName"),
        "VpcId": balancer.get("VPCId"),
        "AvailabilityZones": balancer.get("AvailabilityZones", []),
        "SubnetIds": balancer.get("Subnets", []),
        "Ec2InstanceIds": list(balancer.get("_instances", {})),
    }


OPERATIONS = {
    "AttachElasticLoadBalancer": attach,
    "DetachElasticLoadBalancer": detach,
    "DescribeElasticLoadBalancers": describe,
}
