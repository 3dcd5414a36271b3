"""How targets enter and leave a target group, each known by its instance and its port.

A target is `registering` until `elb_registration_delay` has passed, `registered`, or `draining`. Its slot in the
HAProxy of the load balancer that uses the group, if one does, is filled and drained through the socket. `watch` looks
at all of them several times a second, since HAProxy tells nobody when a check passes or a connection ends.
"""

import logging
import time

from .. import haproxy, machines
from ..errors import elb_error
from ..testbed import setting, store
from . import config, records
from .records import BALANCERS, GROUPS, LISTENERS, RULES

LOG = logging.getLogger(__name__)

POLL = 0.2
RUNNING = ("running", "lost")


def key(instance_id: str, port: int) -> str:
    return f"{instance_id}:{port}"


def start(tables: dict, balancer: dict) -> None:
    """Runs the balancer with its present listeners, rules and groups; without a listener nothing runs. The caller
    holds the store's lock."""
    listeners = records.of_balancer(tables, LISTENERS, balancer["Arn"])
    if not listeners:
        haproxy.stop(balancer)
        return
    rules = records.of_balancer(tables, RULES, balancer["Arn"])
    groups = [tables[GROUPS][arn] for arn, user in records.users(tables).items() if user == balancer["Arn"]]
    override = setting("health_interval_override")
    fresh = haproxy.run(
        balancer,
        lambda taken: config.render(balancer, listeners, rules, groups, override, taken),
        [(config.pool(balancer, group), _seats(group)) for group in groups],
    )
    for group in groups:
        if config.checks(group) in fresh:
            for target in group["_targets"].values():
                target.update(since=time.time(), served=False)


def start_user(tables: dict, balancer_arn: str | None) -> None:
    """The same for the balancer that uses a group which has changed, if one does."""
    if balancer_arn:
        start(tables, tables[BALANCERS][balancer_arn])


def start_all() -> None:
    """After a restart of LocalStack, and when checks get another interval: what runs as it should stays as it is."""
    with store.change() as tables:
        for balancer in tables[BALANCERS].values():
            try:
                start(tables, balancer)
            except RuntimeError:
                LOG.exception("load balancer %s", balancer["Arn"])


def register(tables: dict, group: dict, wanted: list[tuple[str, int]]) -> None:
    """One that is registered stays as it is; one that drains comes back, and has to pass a check like a new one."""
    for instance_id, port in wanted:
        target = group["_targets"].get(key(instance_id, port))
        if target is not None and target["state"] != "draining":
            continue
        if target is None:
            target = {"Id": instance_id, "Port": port, "slot": _free_slot(tables, group)}
            group["_targets"][key(instance_id, port)] = target
        now = time.time()
        target.update(state="registering", enters_at=now + setting("elb_registration_delay"), since=now, served=False)
        if target["enters_at"] <= now:
            _enter(pool_of(tables, group), group, target)


def deregister(tables: dict, group: dict, wanted: list[tuple[str, int]]) -> None:
    """What is not registered is none of its business (API reference, "the action returns successfully")."""
    delay = int(group["Attributes"]["deregistration_delay.timeout_seconds"])
    pool = pool_of(tables, group)
    for instance_id, port in wanted:
        target = group["_targets"].get(key(instance_id, port))
        if target is None or target["state"] == "draining":
            continue
        if pool is None or delay == 0:
            _leave(pool, group, target)
            continue
        now = time.time()
        target.update(state="draining", drain_began=now, drain_deadline=now + delay)
        haproxy.drain(pool, target["slot"])


def watch() -> None:
    while True:
        try:
            step()
        except Exception:
            LOG.exception("targets")
        time.sleep(POLL)


def step() -> None:
    """Looks once at every target, and does what is due."""
    with store.read() as tables:
        looked_at = [
            (g["Arn"], pool_of(tables, g), list(g["_targets"].values())) for g in tables[GROUPS].values() if g["_targets"]
        ]
    for arn, pool, targets in looked_at:
        try:
            servers = haproxy.servers(pool) if pool and any(map(_restless, targets)) else {}
        except RuntimeError:
            # Nothing can be done with a process that does not answer; it is asked again in a moment.
            continue
        with store.read() as tables:
            group = tables[GROUPS].get(arn)
            if group is None or not any(_due(t, servers, pool is not None) for t in group["_targets"].values()):
                continue
            with store.change():
                # The servers were seen before the lock was had: what has changed since is looked at the next time.
                if pool_of(tables, group) == pool:
                    for target in list(group["_targets"].values()):
                        _do(_due(target, servers, pool is not None), pool, group, target)


def seen(pool: haproxy.Pool | None) -> dict[int, dict]:
    """What HAProxy says of a group's slots; nothing if no balancer uses the group, or HAProxy does not answer."""
    try:
        return haproxy.servers(pool) if pool else {}
    except RuntimeError:
        return {}


def pool_of(tables: dict, group: dict) -> haproxy.Pool | None:
    """The group's slots in the HAProxy of the balancer that uses it."""
    user = records.users(tables).get(group["Arn"])
    return config.pool(tables[BALANCERS][user], group) if user else None


def _restless(target: dict) -> bool:
    """Whether what HAProxy has to say of it may change anything here."""
    return target["state"] == "draining" or not target["served"]


def _due(target: dict, servers: dict[int, dict], used: bool) -> str | None:
    now, server = time.time(), servers.get(target["slot"])
    machine = machines.get(target["Id"])
    if machine is None or machine.state == "terminated":
        if target["state"] == "draining" or now >= target.get("terminated_at", now) + setting("elb_terminated_delay"):
            return "leave"
        return None if "terminated_at" in target else "note its end"
    if target["state"] == "registering":
        return "enter" if now >= target["enters_at"] else None
    if target["state"] == "draining":
        idle = server is None or server["sessions"] == 0
        young = now < target["drain_began"] + setting("drain_min") or setting("drain_whole_delay")
        return "leave" if not used or now >= target["drain_deadline"] or (idle and not young) else None
    if machine.state == "stopped":
        return None if target.get("stopped") else "note its stop"
    # An instance that was stopped begins again, and at another address perhaps.
    if machine.state in RUNNING and (target.get("stopped") or target.get("address") != machine.address):
        return "enter"
    if server is None or target["served"]:
        return None
    if server["status"].startswith("UP"):
        return "note its service"
    # "After your target is registered, it must pass one health check to be considered healthy", whereas HAProxy waits
    # for as many as an unhealthy one needs, and says "DOWN 1/5" meanwhile.
    return "accept" if server["status"].startswith("DOWN ") else None


def _do(due: str | None, pool: haproxy.Pool | None, group: dict, target: dict) -> None:
    match due:
        case "enter":
            _enter(pool, group, target)
        case "leave":
            _leave(pool, group, target)
        case "accept":
            haproxy.accept(pool, target["slot"])
            target["served"] = True
        case "note its service":
            target["served"] = True
        case "note its stop" | "note its end":
            # It stays registered, but nothing goes there: its address may be another's soon.
            if pool:
                haproxy.empty(pool, target["slot"])
            target.update({"stopped": True} if due == "note its stop" else {"terminated_at": time.time()})


def _enter(pool: haproxy.Pool | None, group: dict, target: dict) -> None:
    machine = machines.get(target["Id"])
    if machine is None:
        return
    if pool:
        haproxy.fill(pool, _seat(group, {**target, "address": machine.address}))
    target.update(state="registered", since=time.time(), served=False, stopped=False, address=machine.address)


def _leave(pool: haproxy.Pool | None, group: dict, target: dict) -> None:
    """An application balancer closes what is left; a network balancer does so if the group says so."""
    del group["_targets"][key(target["Id"], target["Port"])]
    cut = group["Attributes"].get("deregistration_delay.connection_termination.enabled", "true") == "true"
    try:
        if pool:
            haproxy.empty(pool, target["slot"], cut)
    except RuntimeError:
        LOG.exception("target group %s", group["Arn"])


def _seats(group: dict) -> list[haproxy.Seat]:
    gone = ("stopped", "terminated_at")
    inside = [t for t in group["_targets"].values() if t.get("address") and not any(map(t.get, gone))]
    return [_seat(group, target) for target in inside]


def _seat(group: dict, target: dict) -> haproxy.Seat:
    port = target["Port"]
    # One that drained and waits to come back drains on until then.
    draining = target["state"] != "registered"
    return haproxy.Seat(target["slot"], target["address"], port, config.check_port(group, port), draining)


def _free_slot(tables: dict, group: dict) -> int:
    """One with nothing in flight, if there is: a network balancer may leave connections behind."""
    used = {target["slot"] for target in group["_targets"].values()}
    free = [slot for slot in range(1, haproxy.SLOTS + 1) if slot not in used]
    if not free:
        raise elb_error("TooManyTargets", f"A target group here takes at most {haproxy.SLOTS} targets")
    servers = seen(pool_of(tables, group))
    return min(free, key=lambda slot: (servers.get(slot, {}).get("sessions", 0), slot))
