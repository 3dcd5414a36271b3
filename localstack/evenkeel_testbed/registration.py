"""How instances enter and leave a classic load balancer.

An entry is `registering` (waiting for elb_registration_delay), `registered`, or `draining`. An instance that
drains is `InService` until it has gone, and its slot takes no new requests.
"""

import logging
import threading
import time

from . import classic, haproxy, machines
from .errors import elb_error, no_load_balancer
from .testbed import setting, store

LOG = logging.getLogger(__name__)

DRAIN_POLL = 0.2


def key(region: str, name: str) -> str:
    return f"{region}/{name}"


def balancer(tables: dict, region: str, name: str) -> dict:
    found = tables["balancers"].get(key(region, name))
    if found is None:
        raise no_load_balancer(name)
    return found


def start(record: dict) -> None:
    """Runs the balancer with its present configuration. The caller holds the store's lock."""
    override = setting("health_interval_override")
    seats = [
        haproxy.Seat(entry["slot"], machine.address, draining=entry["state"] == "draining")
        for instance_id, entry in record["_instances"].items()
        if entry["state"] != "registering" and (machine := machines.get(instance_id))
    ]
    haproxy.run(record, lambda taken: classic.render(record, override, taken), [(classic.pool(record), seats)])


def register(region: str, name: str, instance_ids: list[str]) -> None:
    """Registering one that drains takes it back at once; one that is registered stays as it is."""
    delay = setting("elb_registration_delay")
    new = []
    with store.change() as tables:
        record = balancer(tables, region, name)
        entries = record["_instances"]
        for instance_id in instance_ids:
            entry = entries.get(instance_id)
            if entry is None:
                entries[instance_id] = {
                    "slot": _free_slot(entries),
                    "since": time.time(),
                    "state": "registering",
                    "served": False,
                    "visit": _next_visit(record),
                }
                new.append(instance_id)
            elif entry["state"] == "draining":
                entry["state"] = "registered"
                entry["visit"] = _next_visit(record)
                haproxy.undrain(classic.pool(record), entry["slot"])
        visits = {instance_id: entries[instance_id]["visit"] for instance_id in new}
    for instance_id in new:
        if delay > 0:
            timer = threading.Timer(delay, _enter, (region, name, instance_id, visits[instance_id]))
            timer.daemon = True
            timer.start()
        else:
            _enter(region, name, instance_id, visits[instance_id])


def deregister(region: str, name: str, instance_ids: list[str]) -> None:
    """With connection draining the instance finishes its requests, for at most the time-out; without, its
    connections are closed at once."""
    draining = []
    with store.change() as tables:
        record = balancer(tables, region, name)
        policy = record["Attributes"]["ConnectionDraining"]
        for instance_id in instance_ids:
            entry = record["_instances"].get(instance_id)
            if entry is None or entry["state"] == "draining":
                continue
            if policy["Enabled"] and entry["state"] == "registered":
                now = time.time()
                entry.update(
                    state="draining",
                    drain_began=now,
                    drain_deadline=now + policy["Timeout"],
                    visit=_next_visit(record),
                )
                haproxy.drain(classic.pool(record), entry["slot"])
                draining.append((instance_id, entry["visit"]))
            else:
                _leave(record, instance_id)
    for instance_id, visit in draining:
        _watch_drain(region, name, instance_id, visit)


def resume() -> None:
    """After a restart of LocalStack: balancers that died are started again, drains and registrations go on."""
    with store.read() as tables:
        records = list(tables["balancers"].values())
    for record in records:
        with store.change():
            try:
                start(record)
            except RuntimeError:
                LOG.exception("balancer %s", record["Name"])
        for instance_id, entry in list(record["_instances"].items()):
            where = (record["Region"], record["Name"], instance_id, entry["visit"])
            if entry["state"] == "draining":
                _watch_drain(*where)
            elif entry["state"] == "registering":
                _enter(*where)


def _enter(region: str, name: str, instance_id: str, visit: int) -> None:
    with store.change() as tables:
        record = tables["balancers"].get(key(region, name))
        entry = record and record["_instances"].get(instance_id)
        machine = machines.get(instance_id)
        if not entry or entry["visit"] != visit or machine is None:
            return
        haproxy.fill(classic.pool(record), haproxy.Seat(entry["slot"], machine.address))
        entry["state"] = "registered"
        entry["since"] = time.time()


def _leave(record: dict, instance_id: str) -> None:
    entry = record["_instances"].pop(instance_id)
    try:
        haproxy.empty(classic.pool(record), entry["slot"])
    except RuntimeError:
        LOG.exception("balancer %s", record["Name"])


def _watch_drain(region: str, name: str, instance_id: str, visit: int) -> None:
    threading.Thread(
        target=_drain, args=(region, name, instance_id, visit), name=f"drain-{instance_id}", daemon=True
    ).start()


def _drain(region: str, name: str, instance_id: str, visit: int) -> None:
    """Ends the drain when nothing is in flight any more, not sooner than drain_min, not later than the deadline.
    Looks every DRAIN_POLL seconds, as HAProxy has no event for it."""
    while True:
        with store.read() as tables:
            record = tables["balancers"].get(key(region, name))
            entry = record and record["_instances"].get(instance_id)
            if not entry or entry["visit"] != visit:
                return
            over = time.time() >= entry["drain_deadline"]
            slot, young = entry["slot"], time.time() < entry["drain_began"] + setting("drain_min")
        try:
            idle = haproxy.servers(classic.pool(record))[slot]["sessions"] == 0
        except RuntimeError:
            idle = True
        if over or (idle and not young):
            with store.change() as tables:
                entry = record["_instances"].get(instance_id)
                if entry and entry["visit"] == visit:
                    _leave(record, instance_id)
            return
        time.sleep(DRAIN_POLL)


def _free_slot(entries: dict) -> int:
    used = {entry["slot"] for entry in entries.values()}
    for slot in range(1, haproxy.SLOTS + 1):
        if slot not in used:
            return slot
    raise elb_error("ValidationError", f"A load balancer here takes at most {haproxy.SLOTS} instances")


def _next_visit(record: dict) -> int:
    """Numbers each stay of an instance, so that a drain that was cancelled does not end a later one."""
    record["_visits"] = record.get("_visits", 0) + 1
    return record["_visits"]
