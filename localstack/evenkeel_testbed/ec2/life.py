"""The life of an EC2 instance: pending, running, stopping, stopped, shutting-down, terminated.

As in boot.py a request moves the state one step, raises the instance's generation and calls `go`; a thread walks the
rest of the way from whatever state it finds, and ends when its generation is over. EC2 does not notice a machine that
dies by itself: the state stays, and the status checks tell (status.py).
"""

import datetime
import logging
import threading
import time

from .. import faults, machines
from . import containers, credentials, ebs
from ..testbed import setting, store

LOG = logging.getLogger(__name__)

USER_SHUTDOWN = {
    "Code": "Client.UserInitiatedShutdown",
    "Message": "Client.UserInitiatedShutdown: User initiated shutdown",
}
FAILED = {"Code": "Server.InternalError", "Message": "Server.InternalError: Internal error on launch"}


class Over(Exception):
    """Somebody asked for something else in the meantime."""


def move(instance: dict, state: str, by_user: bool = True) -> None:
    """A request's own step. The caller holds the store's lock, and calls `go` when it has let it go."""
    instance["State"] = state
    instance["_generation"] += 1
    if state in ("stopping", "shutting-down") and by_user:
        instance["StateReason"] = dict(USER_SHUTDOWN)
        moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        instance["StateTransitionReason"] = f"User initiated ({moment} GMT)"
    elif state == "pending":
        instance.pop("StateReason", None)
        instance["StateTransitionReason"] = ""


def go(instance_id: str) -> None:
    threading.Thread(target=_walk, args=(instance_id,), name=f"walk-{instance_id}", daemon=True).start()


def reboot(instance_id: str) -> None:
    threading.Thread(target=_reboot, args=(instance_id,), name=f"reboot-{instance_id}", daemon=True).start()


def resume() -> None:
    """After a restart of LocalStack: goes on where each instance was."""
    with store.read() as tables:
        walking = [i["InstanceId"] for i in tables["ec2_instances"].values() if i["State"] in WALKS]
    for instance_id in walking:
        go(instance_id)


def end(instance_id: str) -> None:
    """Without ceremony, for a test that clears the table: the machine goes, and every volume that it has."""
    with hands_on(instance_id):
        machine = machines.get(instance_id)
        if machine is not None:
            machines.terminate(machine, delete_volumes=False)
        with store.change() as tables:
            for volume in list(tables["ec2_volumes"].values()):
                if any(a["InstanceId"] == instance_id for a in volume["Attachments"]):
                    ebs.forget(tables, volume)
            tables["machines"].pop(instance_id, None)


_locks: dict[str, threading.Lock] = {}
_locks_lock = threading.Lock()


def hands_on(instance_id: str) -> threading.Lock:
    """One walk at a time has its hands on a machine: a stop waits until a launch has returned."""
    with _locks_lock:
        return _locks.setdefault(instance_id, threading.Lock())


def _walk(instance_id: str) -> None:
    with hands_on(instance_id):
        with store.read() as tables:
            instance = tables["ec2_instances"].get(instance_id)
            if instance is None:
                return
            state, generation = instance["State"], instance["_generation"]
        if state not in WALKS:
            return
        try:
            WALKS[state](instance_id, generation)
        except Over:
            pass
        except Exception:
            LOG.exception("instance %s, %s", instance_id, state)
            _failed(instance_id, generation, state)


def _start(instance_id: str, generation: int) -> None:
    _pause(instance_id, generation)
    machine = _machine(instance_id, generation)
    with store.read() as tables:
        instance = tables["ec2_instances"][instance_id]
        words = [instance_id, machine.hostname, instance["Tags"]]
        hop_limit = instance["MetadataOptions"]["HttpPutResponseHopLimit"]
    fault = faults.faults.take("machine", "launch", machine.region, words)
    if fault:
        raise RuntimeError(fault.get("message") or fault.get("error") or "the launch failed")
    containers.start(machine, hop_limit)
    with _holding(instance_id, generation) as instance:
        machines.set_state(instance_id, "running")
        instance["State"] = "running"
        instance["_running_since"] = time.time()
        if instance["_public"]:
            dashed = instance["PrivateIpAddress"].replace(".", "-")
            instance["PublicIpAddress"] = instance["PrivateIpAddress"]
            instance["PublicDnsName"] = f"ec2-{dashed}.{instance['_region']}.compute.amazonaws.com"


def _stop(instance_id: str, generation: int) -> None:
    _pause(instance_id, generation)
    machine = _machine(instance_id, generation)
    machines.set_state(instance_id, "stopping")
    containers.stop(machine)
    with _holding(instance_id, generation) as instance:
        machines.set_state(instance_id, "stopped")
        instance["State"] = "stopped"
        _without_public_address(instance)


def _terminate(instance_id: str, generation: int) -> None:
    _pause(instance_id, generation)
    machines.terminate(_machine(instance_id, generation), delete_volumes=False)
    with _holding(instance_id, generation) as instance, store.change() as tables:
        instance["State"] = "terminated"
        instance["_terminated_at"] = time.time()
        _without_public_address(instance)
        ebs.release(tables, instance_id)
        credentials.forget(instance_id)


WALKS = {"pending": _start, "stopping": _stop, "shutting-down": _terminate}


def _reboot(instance_id: str) -> None:
    with hands_on(instance_id):
        with store.read() as tables:
            if tables["ec2_instances"].get(instance_id, {}).get("State") != "running":
                return
            machine = machines.get(instance_id)
        try:
            containers.stop(machine)
            containers.start(machine)
        except Exception:
            LOG.exception("rebooting %s", instance_id)
            return
        with store.change() as tables:
            if instance_id in tables["ec2_instances"]:
                tables["ec2_instances"][instance_id]["_running_since"] = time.time()


def _failed(instance_id: str, generation: int, state: str) -> None:
    """ "pending to terminated: an internal error has occurred during the launch" (user guide, "Troubleshoot instance
    launch issues"); a start that fails ends in `stopped` again."""
    try:
        with _holding(instance_id, generation) as instance:
            again = "_running_since" in instance
            instance["StateReason"] = dict(FAILED)
            instance["StateTransitionReason"] = "Server.InternalError"
            move(instance, "stopping" if state == "pending" and again else "shutting-down", by_user=False)
    except Over:
        return
    if state == "pending":
        go(instance_id)


def _without_public_address(instance: dict) -> None:
    instance.pop("PublicIpAddress", None)
    instance["PublicDnsName"] = ""


def _machine(instance_id: str, generation: int) -> machines.Machine:
    with _holding(instance_id, generation):
        return machines.get(instance_id)


def _pause(instance_id: str, generation: int) -> None:
    limit = time.monotonic() + setting("state_delay")
    while (left := limit - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
        with _holding(instance_id, generation):
            pass


class _holding:
    """The instance's record under the store's lock, as long as this walk is still the wanted one."""

    def __init__(self, instance_id: str, generation: int):
        self.instance_id, self.generation = instance_id, generation
        self.changing = store.change()

    def __enter__(self) -> dict:
        tables = self.changing.__enter__()
        instance = tables["ec2_instances"].get(self.instance_id)
        if instance is None or instance["_generation"] != self.generation:
            self.changing.__exit__(None, None, None)
            raise Over
        return instance

    def __exit__(self, *error) -> None:
        self.changing.__exit__(*error)
