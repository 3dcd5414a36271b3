"""The plug-in's own endpoints, under /_evenkeel/: what was called, what should fail, what is really there."""

import json

from rolo import Response

from localstack.services.edge import ROUTER

from . import classic, clearing, haproxy, machines, paths, pki, samples, testbed
from .calls import calls
from .ec2 import control as ec2_control
from .elbv2 import view as v2_view
from .faults import faults
from .testbed import store


def install() -> None:
    for path, methods in (
        ("calls", ("GET", "DELETE")),
        ("faults", ("GET", "POST", "DELETE")),
        ("config", ("GET", "POST")),
        ("instances", ("GET",)),
        ("loadbalancers", ("GET",)),
        ("reset", ("POST",)),
    ):
        ROUTER.add(f"/_evenkeel/{path}", endpoint(globals()[f"on_{path}"]), methods=list(methods))
    for path, function in ec2_control.ROUTES.items():
        ROUTER.add(f"/_evenkeel/{path}", endpoint(function), methods=["POST"])
    ROUTER.add("/_evenkeel/faults/<int:fault_id>", endpoint(on_fault), methods=["DELETE"])
    ROUTER.add("/_evenkeel/instances/<instance_id>/tls", endpoint(on_tls), methods=["POST"])


def endpoint(function):
    def handle(request, **arguments) -> Response:
        try:
            return _json(function(request, **arguments))
        except (ValueError, TypeError) as error:
            return _json({"error": str(error)}, 400)
        except LookupError as error:
            return _json({"error": f"there is no {error}"}, 404)

    return handle


def on_calls(request) -> dict:
    if request.method == "DELETE":
        calls.reset()
        return {}
    return calls.since(int(request.args.get("since", 0)))


def on_faults(request):
    if request.method == "POST":
        wanted = _body(request)
        fault_id = faults.add(wanted)
        if wanted.get("lag"):
            samples.keep(wanted["service"])
        return {"id": fault_id}
    if request.method == "DELETE":
        faults.remove()
        return {}
    return faults.list()


def on_fault(request, fault_id: int) -> dict:
    faults.remove(fault_id)
    return {}


def on_config(request) -> dict:
    if request.method == "POST":
        wanted = _body(request)
        unknown = set(wanted) - set(testbed.DEFAULTS)
        if unknown:
            raise ValueError(f"unknown settings {sorted(unknown)}; known are {sorted(testbed.DEFAULTS)}")
        for name, value in wanted.items():
            if not (isinstance(value, (int, float)) and value >= 0) and testbed.DEFAULTS[name] is not None:
                raise ValueError(f"{name} is a number of seconds")
        with store.change() as tables:
            tables["config"].update(wanted)
        if "health_interval_override" in wanted:
            clearing.restart_balancers()
    return {name: testbed.setting(name) for name in testbed.DEFAULTS}


def on_instances(request) -> list:
    with store.read() as tables:
        return [_instance(tables, instance) for instance in tables["instances"].values()] + ec2_control.instances(tables)


def on_loadbalancers(request) -> list:
    with store.read() as tables:
        balancers = [dict(b) for b in tables["balancers"].values()]
    return [_balancer(balancer) for balancer in balancers] + v2_view.balancers()


def on_reset(request) -> dict:
    clearing.reset(_body(request).get("stack"))
    return {}


def on_tls(request, instance_id: str) -> dict:
    """Gives the engine of an OpsWorks instance a certificate of the authority `evenkeel` or `rogue`, and restarts the
    engine. With `rogue` it also accepts only that authority's clients. One of EC2 fetches its own at every start, and
    would put right at once what was changed under it."""
    authority = {"evenkeel": paths.PKI, "rogue": paths.PKI / "rogue"}[_body(request).get("ca", "evenkeel")]
    with store.read() as tables:
        if instance_id in tables["ec2_instances"]:
            raise ValueError(
                f"{instance_id} is EC2's, and its engine fetches its certificate whenever it starts: put another one where it "
                "does, and restart it with systemctl"
            )
        ec2_id = tables["instances"][instance_id].get("Ec2InstanceId")
    machine = machines.get(ec2_id)
    tls = paths.instance_dir(ec2_id) / "tls"
    pki.write_leaf(authority, tls, machine.hostname, [machine.hostname, "localhost"], [machine.address])
    machines.restart_engine(machine)
    return {}


def _instance(tables: dict, instance: dict) -> dict:
    ec2_id = instance.get("Ec2InstanceId")
    machine = tables["machines"].get(ec2_id, {})
    return {
        "provider": "opsworks",
        "instance_id": instance["InstanceId"],
        "ec2_instance_id": ec2_id,
        "hostname": instance["Hostname"],
        "stack": instance["StackId"],
        "address": machine.get("address") or None,
        "container": machine.get("container"),
        "engine_log": str(paths.engine_log(ec2_id)) if ec2_id else None,
        "volumes": [{k: v[k] for k in ("file", "loop", "mount")} for v in machine.get("volumes", [])],
        "status": instance["Status"],
    }


def _balancer(balancer: dict) -> dict:
    try:
        servers = haproxy.servers(classic.pool(balancer))
    except RuntimeError:
        servers = {}
    return {
        "name": balancer["Name"],
        "kind": "classic",
        "region": balancer["Region"],
        "address": balancer["Address"],
        "ports": [listener["LoadBalancerPort"] for listener in balancer["Listeners"]],
        "haproxy_socket": str(haproxy.Files(balancer).socket),
        "haproxy_pid": haproxy.pid(balancer),
        "servers": [
            {"ec2_instance_id": ec2_id, "state": entry["state"], "slot": entry["slot"], **servers.get(entry["slot"], {})}
            for ec2_id, entry in balancer["_instances"].items()
        ],
    }


def _body(request) -> dict:
    body = json.loads(request.get_data() or b"{}")
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


def _json(value, status: int = 200) -> Response:
    return Response(json.dumps(value), status=status, mimetype="application/json")
