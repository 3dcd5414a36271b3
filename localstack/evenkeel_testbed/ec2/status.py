"""Status checks. A machine that runs passes them; one whose container died, or is frozen, fails them after a while."""

import datetime
import logging
import time

from .. import machines
from .pages import filtered, page
from .shown import state
from .world import Where, find_all, mine, reading
from ..testbed import setting, store

LOG = logging.getLogger(__name__)

CHECK_EVERY = 1.0
CHECKS = ("system", "instance")
WORDS = {"ok": "passed", "impaired": "failed", "initializing": "initializing", "insufficient-data": "insufficient-data"}

# Since when each machine has not been reachable.
_unreachable: dict[str, float] = {}


def describe_instance_status(where: Where, request: dict) -> dict:
    """Running instances only, unless IncludeAllInstances."""
    with reading(where) as tables:
        ids = request.get("InstanceIds")
        found = find_all(tables, where, "ec2_instances", ids) if ids else mine(tables, "ec2_instances", where)
        found = [i for i in found if not i.get("_hidden") and (i["State"] == "running" or request.get("IncludeAllInstances"))]
        getters = {
            "availability-zone": lambda i: i["Placement"]["AvailabilityZone"],
            "instance-state-name": lambda i: i["State"],
            "instance-status.status": lambda i: status(i, "instance"),
            "system-status.status": lambda i: status(i, "system"),
            "instance-status.reachability": lambda i: WORDS.get(status(i, "instance")),
            "system-status.reachability": lambda i: WORDS.get(status(i, "system")),
        }
        found, more = page(where, filtered(found, request, getters), request, "InstanceId", "InstanceIds")
        return {"InstanceStatuses": [_shown(i) for i in found], **more}


def status(instance: dict, check: str) -> str:
    if instance["State"] != "running":
        return "not-applicable"
    told = instance.get("_status", {}).get(check)
    if told:
        return told
    gone = _unreachable.get(instance["InstanceId"])
    # A machine that died is the instance's own trouble; AWS's hardware below it is well.
    if check == "instance" and gone and time.time() - gone >= setting("impaired_after"):
        return "impaired"
    young = time.time() - instance.get("_running_since", 0) < setting("status_check_delay")
    return "initializing" if young else "ok"


def tell(instance_id: str, told: dict) -> None:
    """What a test wants the checks to say: `{"system": "impaired"}`, or null for what they find."""
    unknown = set(told) - set(CHECKS)
    wrong = [v for v in told.values() if v is not None and v not in WORDS]
    if unknown or wrong:
        raise ValueError(f"status checks are {CHECKS}, each one of {sorted(WORDS)} or null")
    with store.change() as tables:
        instance = tables["ec2_instances"][instance_id]
        now = {**instance.get("_status", {}), **told}
        instance["_status"] = {check: word for check, word in now.items() if word}
        instance["_impaired_since"] = datetime.datetime.now(datetime.timezone.utc).isoformat()


def watch() -> None:
    """Looks at the machines once a second. Never returns."""
    while True:
        try:
            with store.read() as tables:
                wanted = [i["InstanceId"] for i in tables["ec2_instances"].values() if i["State"] == "running"]
            alive = machines.alive() if wanted else set()
            for instance_id in list(_unreachable):
                if instance_id not in wanted or instance_id in alive:
                    del _unreachable[instance_id]
            for instance_id in wanted:
                if instance_id not in alive:
                    _unreachable.setdefault(instance_id, time.time())
        except Exception as problem:
            LOG.warning("looking at the machines: %s", problem)
        time.sleep(CHECK_EVERY)


def _shown(instance: dict) -> dict:
    return {
        "InstanceId": instance["InstanceId"],
        "AvailabilityZone": instance["Placement"]["AvailabilityZone"],
        "InstanceState": state(instance["State"]),
        "Events": [],
        **{f"{check.capitalize()}Status": _summary(instance, check) for check in CHECKS},
    }


def _summary(instance: dict, check: str) -> dict:
    word = status(instance, check)
    if word == "not-applicable":
        return {"Status": word}
    detail = {"Name": "reachability", "Status": WORDS[word]}
    if word == "impaired":
        gone = _unreachable.get(instance["InstanceId"])
        since = datetime.datetime.fromtimestamp(gone, datetime.timezone.utc).isoformat() if gone else None
        detail["ImpairedSince"] = since or instance.get("_impaired_since")
    return {"Status": word, "Details": [detail]}


OPERATIONS = {"DescribeInstanceStatus": describe_instance_status}
