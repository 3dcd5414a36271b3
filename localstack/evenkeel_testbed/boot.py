"""The life of an OpsWorks instance: requested, pending, booting, running_setup, online, and back to stopped.

A request only moves the status one step and calls `go`; a thread of the instance's own then walks the rest of
the way. Each request raises the instance's generation, and a walk whose generation is over stops: that is how
StopInstance interrupts a boot. Walks continue from whatever status they find, so LocalStack can be killed in
the middle of one and resume it.
"""

import logging
import threading
import time

from . import attachments, elb, faults, machines, testbed, volumes
from .testbed import setting, store

LOG = logging.getLogger(__name__)

STARTING = ("requested", "pending", "booting", "running_setup")
STOPPING = ("stopping", "terminating", "shutting_down")
STOPPED = ("stopped",)
STARTABLE = ("stopped", "start_failed", "setup_failed")
DELETABLE = ("stopped", "start_failed", "terminated")

DEVICES = "fghijklmnop"


class Over(Exception):
    """Somebody asked for something else in the meantime."""


def request_start(instance: dict) -> None:
    _request(instance, "requested")


def request_stop(instance: dict) -> None:
    _request(instance, "stopping")


def request_reboot(instance: dict) -> None:
    _request(instance, "rebooting")


def go(instance_id: str) -> None:
    threading.Thread(target=_walk, args=(instance_id,), name=f"walk-{instance_id[:8]}", daemon=True).start()


def resume() -> None:
    """After a restart of LocalStack: goes on where each instance was, and looks at the ones that should run."""
    with store.read() as tables:
        instances = [dict(i) for i in tables["instances"].values()]
    for instance in instances:
        if instance["Status"] in (*STARTING, *STOPPING, "rebooting"):
            go(instance["InstanceId"])
        elif instance["Status"] in ("online", "connection_lost"):
            machine = machines.get(instance["Ec2InstanceId"])
            machine_changed(instance["Ec2InstanceId"], machine is not None and machines.running(machine))


def machine_changed(ec2_id: str, running: bool) -> None:
    """A container died or started. An instance that nobody asked to stop has lost its connection."""
    with store.change() as tables:
        instance = next((i for i in tables["instances"].values() if i.get("Ec2InstanceId") == ec2_id), None)
        if instance is None:
            return
        if not running and instance["Status"] == "online":
            instance["Status"] = "connection_lost"
            tables["machines"][ec2_id]["state"] = "lost"
        back = running and instance["Status"] == "connection_lost"
    if back:
        threading.Thread(target=_reconnect, args=(instance["InstanceId"],), daemon=True).start()


def forget(instance: dict, delete_volumes: bool) -> None:
    """Removes the instance; its machine is terminated in the background."""
    with store.change() as tables:
        instance_id = instance["InstanceId"]
        ec2_id = instance.get("Ec2InstanceId")
        for key, volume in list(tables["volumes"].items()):
            if volume.get("InstanceId") == instance_id:
                if delete_volumes:
                    del tables["volumes"][key]
                else:
                    volume.pop("InstanceId")
                    volume["Status"] = "available"
        tables["time_scaling"].pop(instance_id, None)
        del tables["instances"][instance_id]
    machine = ec2_id and machines.get(ec2_id)
    if machine:
        threading.Thread(target=terminate, args=(instance_id, machine, delete_volumes), daemon=True).start()


def terminate(instance_id: str, machine: machines.Machine, delete_volumes: bool) -> None:
    with _hands_on(instance_id):
        machines.terminate(machine, delete_volumes)


def _request(instance: dict, status: str) -> None:
    instance["Status"] = status
    instance["_generation"] += 1


# One walk at a time has its hands on an instance's machine: a stop waits until a launch has returned.
_locks: dict[str, threading.Lock] = {}
_locks_lock = threading.Lock()


def _hands_on(instance_id: str) -> threading.Lock:
    with _locks_lock:
        return _locks.setdefault(instance_id, threading.Lock())


def _walk(instance_id: str) -> None:
    with _hands_on(instance_id):
        with store.read() as tables:
            instance = tables["instances"].get(instance_id)
            if instance is None:
                return
            status, generation = instance["Status"], instance["_generation"]
        try:
            if status in STARTING:
                _start(instance_id, generation, status)
            elif status in STOPPING:
                _stop(instance_id, generation)
            elif status == "rebooting":
                _reboot(instance_id, generation)
        except Over:
            pass
        except Exception as error:
            LOG.exception("instance %s", instance_id)
            failed = {"stopping": "stop_failed", "rebooting": "start_failed"}.get(status, "start_failed")
            _fail(instance_id, generation, failed, type(error).__name__, str(error))


def _start(instance_id: str, generation: int, status: str) -> None:
    if status == "requested":
        _pause(instance_id, generation)
        with _holding(instance_id, generation) as instance:
            _assign_machine(instance)
            instance["Status"] = status = "pending"
    if status == "pending":
        _pause(instance_id, generation)
        with _holding(instance_id, generation) as instance:
            _assign_addresses(instance)
            instance["Status"] = "booting"
    machine = _machine(instance_id, generation)
    fault = faults.faults.take("machine", "launch", machine.region, machine.hostname)
    if fault:
        raise RuntimeError(fault.get("message") or fault.get("error") or "the launch failed")
    machines.launch(machine)
    machines.set_state(machine.ec2_id, "running")
    _pause(instance_id, generation)
    with _holding(instance_id, generation) as instance:
        instance["Status"] = "running_setup"
        command = _record_command(instance, "setup")
    _pause(instance_id, generation)
    answers = machines.wait_engine(machine, lambda: _current(instance_id, generation))
    if faults.faults.take("machine", "setup", machine.region, machine.hostname):
        answers = False
    with _holding(instance_id, generation) as instance:
        _finish_command(command, answers)
        if answers:
            _come_online(instance)
    if not answers:
        _fail(instance_id, generation, "setup_failed", "SetupFailed", "The engine did not answer on port 2376")
    else:
        attachments.came_online(instance_id)


def _come_online(instance: dict) -> None:
    instance["Status"] = "online"
    instance["ReportedOs"] = {"Family": "debian", "Name": "debian", "Version": "12"}
    instance["ReportedAgentVersion"] = "4039-20240101000000"


def _stop(instance_id: str, generation: int) -> None:
    drained = attachments.going_offline(instance_id)
    _pause(instance_id, generation)
    _wait_for_drain(instance_id, generation, drained)
    with _holding(instance_id, generation) as instance:
        instance["Status"] = "shutting_down"
        ec2_id = instance.get("Ec2InstanceId")
    machine = ec2_id and machines.get(ec2_id)
    if machine:
        machines.set_state(ec2_id, "stopping")
        machines.stop(machine)
        _pause(instance_id, generation)
    with _holding(instance_id, generation) as instance:
        for key in ("PublicIp", "PublicDns", "ReportedOs", "ReportedAgentVersion"):
            instance.pop(key, None)
        instance["Status"] = "stopped"
        if machine:
            machines.set_state(ec2_id, "stopped")
        if machine and instance["RootDeviceType"] == "instance-store":
            # Only an EBS-backed EC2 instance can be stopped; this one is gone, and the next start makes another.
            for key in ("Ec2InstanceId", "PrivateIp", "PrivateDns"):
                instance.pop(key, None)
    if machine and instance["RootDeviceType"] == "instance-store":
        machines.terminate(machine, delete_volumes=False)


def _reboot(instance_id: str, generation: int) -> None:
    _pause(instance_id, generation)
    machine = _machine(instance_id, generation)
    machines.restart(machine)
    machines.set_state(machine.ec2_id, "running")
    with _holding(instance_id, generation) as instance:
        instance["Status"] = "running_setup"
    answers = machines.wait_engine(machine, lambda: _current(instance_id, generation))
    with _holding(instance_id, generation) as instance:
        if answers:
            _come_online(instance)
    if not answers:
        _fail(instance_id, generation, "setup_failed", "SetupFailed", "The engine did not answer on port 2376")
    else:
        attachments.came_online(instance_id)


def _reconnect(instance_id: str) -> None:
    with store.read() as tables:
        instance = tables["instances"].get(instance_id)
        if instance is None:
            return
        generation = instance["_generation"]
        machine = machines.get(instance["Ec2InstanceId"])
    if not machines.wait_engine(machine, lambda: _current(instance_id, generation)):
        return
    with store.change() as tables:
        instance = tables["instances"].get(instance_id)
        if instance and instance["Status"] == "connection_lost":
            instance["Status"] = "online"
            tables["machines"][machine.ec2_id]["state"] = "running"


def _assign_machine(instance: dict) -> None:
    """EC2's part of a start: an instance id from the state pending on, and the layers' volumes."""
    if instance.get("Ec2InstanceId"):
        return
    with store.read() as tables:
        region = tables["stacks"][instance["StackId"]]["Region"]
    machine = machines.Machine(
        ec2_id=testbed.ec2_id("i"),
        container=f"evenkeel-{instance['StackId'][:8]}-{instance['Hostname']}",
        hostname=instance["Hostname"],
        region=region,
        state="pending",
    )
    instance["Ec2InstanceId"] = machine.ec2_id
    if instance["RootDeviceType"] == "ebs":
        instance.setdefault("RootDeviceVolumeId", testbed.ec2_id("vol"))
    machine.volumes = [
        {"file": v["_file"], "device": v["Device"], "mount": v["MountPoint"], "loop": ""}
        for v in _volumes(instance, region)
    ]
    machines.save(machine)


def _volumes(instance: dict, region: str) -> list[dict]:
    """A layer's VolumeConfigurations become volumes at the instance's first start. Several disks of one
    configuration (RAID) are one volume of their joint size here."""
    with store.change() as tables:
        own = [v for v in tables["volumes"].values() if v.get("InstanceId") == instance["InstanceId"]]
        if own:
            return own
        for layer_id in instance["LayerIds"]:
            for wanted in tables["layers"][layer_id]["VolumeConfigurations"]:
                if any(v["MountPoint"] == wanted["MountPoint"] for v in own):
                    continue
                size = wanted["Size"] * wanted["NumberOfDisks"]
                ec2_volume_id = testbed.ec2_id("vol")
                volume = {
                    "VolumeId": testbed.new_id(),
                    "Ec2VolumeId": ec2_volume_id,
                    "Name": f"Created for {instance['Hostname']}",
                    "InstanceId": instance["InstanceId"],
                    "StackId": instance["StackId"],
                    "Status": "in-use",
                    "Size": size,
                    "Device": f"/dev/xvd{DEVICES[len(own)]}",
                    "MountPoint": wanted["MountPoint"],
                    "Region": region,
                    "AvailabilityZone": instance["AvailabilityZone"],
                    "VolumeType": wanted["VolumeType"],
                    "Iops": wanted.get("Iops"),
                    "Encrypted": wanted["Encrypted"],
                    "_file": str(volumes.create(ec2_volume_id, size)),
                }
                tables["volumes"][volume["VolumeId"]] = volume
                own.append(volume)
        return own


def _assign_addresses(instance: dict) -> None:
    machine = machines.get(instance["Ec2InstanceId"])
    if not machine.address:
        machine.address = machines.allocate_address()
    # The hostname may have been changed while the instance was stopped.
    machine.hostname = instance["Hostname"]
    machine.container = f"evenkeel-{instance['StackId'][:8]}-{instance['Hostname']}"
    machines.save(machine)
    dashed = machine.address.replace(".", "-")
    instance["PrivateIp"] = instance["PublicIp"] = machine.address
    instance["PrivateDns"] = f"ip-{dashed}.{machine.region}.compute.internal"
    instance["PublicDns"] = f"ec2-{dashed}.{machine.region}.compute.amazonaws.com"


def _wait_for_drain(instance_id: str, generation: int, balancer: tuple[str, str] | None) -> None:
    """LifecycleEventConfiguration.Shutdown.DelayUntilElbConnectionsDrained, where the layer asks for it."""
    if balancer is None:
        return
    with store.read() as tables:
        ec2_id = tables["instances"][instance_id].get("Ec2InstanceId")
    while _current(instance_id, generation) and elb.is_registered(*balancer, ec2_id):
        time.sleep(0.2)


def _machine(instance_id: str, generation: int) -> machines.Machine:
    with _holding(instance_id, generation) as instance:
        return machines.get(instance["Ec2InstanceId"])


def _current(instance_id: str, generation: int) -> bool:
    with store.read() as tables:
        instance = tables["instances"].get(instance_id)
        return instance is not None and instance["_generation"] == generation


class _holding:
    """The instance's record under the store's lock, as long as this walk is still the wanted one."""

    def __init__(self, instance_id: str, generation: int):
        self.instance_id = instance_id
        self.generation = generation
        self.changing = store.change()

    def __enter__(self) -> dict:
        tables = self.changing.__enter__()
        instance = tables["instances"].get(self.instance_id)
        if instance is None or instance["_generation"] != self.generation:
            self.changing.__exit__(None, None, None)
            raise Over
        return instance

    def __exit__(self, *error) -> None:
        self.changing.__exit__(*error)


def _pause(instance_id: str, generation: int) -> None:
    end = time.monotonic() + setting("state_delay")
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
        if not _current(instance_id, generation):
            raise Over


def _fail(instance_id: str, generation: int, status: str, kind: str, message: str) -> None:
    try:
        with _holding(instance_id, generation) as instance, store.change() as tables:
            error_id = testbed.new_id()
            tables["service_errors"][error_id] = {
                "ServiceErrorId": error_id,
                "StackId": instance["StackId"],
                "InstanceId": instance_id,
                "Type": kind,
                "Message": message,
                "CreatedAt": testbed.now(),
            }
            instance["Status"] = status
            instance["LastServiceErrorId"] = error_id
    except Over:
        pass


def _record_command(instance: dict, kind: str) -> str:
    command_id = testbed.new_id()
    with store.change() as tables:
        tables["commands"][command_id] = {
            "CommandId": command_id,
            "InstanceId": instance["InstanceId"],
            "StackId": instance["StackId"],
            "CreatedAt": testbed.now(),
            "AcknowledgedAt": testbed.now(),
            "Status": "pending",
            "Type": kind,
        }
    return command_id


def _finish_command(command_id: str, worked: bool) -> None:
    with store.change() as tables:
        if command_id in tables["commands"]:
            tables["commands"][command_id].update(
                Status="successful" if worked else "failed",
                ExitCode=0 if worked else 1,
                CompletedAt=testbed.now(),
            )
