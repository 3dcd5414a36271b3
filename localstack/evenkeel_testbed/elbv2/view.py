"""The load balancers as GET /_evenkeel/loadbalancers tells them: what HAProxy really does, beside what AWS would say."""

from .. import haproxy
from ..testbed import store
from . import balancers as rooms, health, records, registration
from .records import BALANCERS, LISTENERS


def balancers() -> list[dict]:
    with store.read() as tables:
        return [_balancer(tables, balancer) for balancer in tables[BALANCERS].values()]


def _balancer(tables: dict, balancer: dict) -> dict:
    groups = [_group(tables, group) for group in rooms.groups_of(tables, balancer["Arn"])]
    return {
        "name": balancer["Name"],
        "kind": balancer["Type"],
        "arn": balancer["Arn"],
        "region": balancer["Region"],
        "address": balancer["Address"],
        "ports": [listener["Port"] for listener in records.of_balancer(tables, LISTENERS, balancer["Arn"])],
        "haproxy_socket": str(haproxy.Files(balancer).socket),
        "haproxy_pid": haproxy.pid(balancer),
        "servers": [target for group in groups for target in group["targets"]],
        "target_groups": groups,
    }


def _group(tables: dict, group: dict) -> dict:
    servers = registration.seen(registration.pool_of(tables, group))
    said = health.of_group(tables, group)
    return {
        "name": group["Name"],
        "arn": group["Arn"],
        "backend": f"t{group['Id']}",
        "targets": [
            {
                "ec2_instance_id": target["Id"],
                "port": target["Port"],
                "state": target["state"],
                "slot": target["slot"],
                "health": said.get(key, {}).get("State"),
                "reason": said.get(key, {}).get("Reason"),
                **servers.get(target["slot"], {}),
            }
            for key, target in group["_targets"].items()
        ],
    }
