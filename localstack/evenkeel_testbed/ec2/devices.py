"""How a volume's device comes into a running instance, and how it leaves.

A file system that is mounted keeps its device: the detachment is `busy` until it is unmounted. By force the file system
is shut down under the instance, which then gets I/O errors from it, as from a device that has gone.
"""

import logging
import threading
import time
from pathlib import Path

from .. import machines, volumes
from . import containers
from ..testbed import setting, store

LOG = logging.getLogger(__name__)


def go_attach(volume_id: str) -> None:
    threading.Thread(target=_attach, args=(volume_id,), name=f"attach-{volume_id}", daemon=True).start()


def go(volume_id: str, force: bool) -> None:
    threading.Thread(target=_detach, args=(volume_id, force), name=f"detach-{volume_id}", daemon=True).start()


def resume() -> None:
    with store.read() as tables:
        under_way = [(v["VolumeId"], a["State"]) for v in tables["ec2_volumes"].values() for a in v["Attachments"]]
    for volume_id, state in under_way:
        if state == "attaching":
            go_attach(volume_id)
        elif state in ("detaching", "busy"):
            go(volume_id, force=False)


def _attach(volume_id: str) -> None:
    time.sleep(setting("state_delay"))
    with store.change() as tables:
        volume = tables["ec2_volumes"].get(volume_id)
        attachment = volume and next((a for a in volume["Attachments"] if a["State"] == "attaching"), None)
        if attachment is None:
            return
        machine = machines.get(attachment["InstanceId"])
        entry = next((v for v in machine.volumes if v["file"] == volume["_file"]), None)
        if entry and tables["ec2_instances"][machine.ec2_id]["State"] == "running":
            entry["loop"] = volumes.attach(Path(entry["file"]))
            machines.save(machine)
            containers.write_devices(machine)
            containers.appear(machine, entry)
        attachment["State"] = "attached"


def _detach(volume_id: str, force: bool) -> None:
    try:
        time.sleep(setting("state_delay"))
        with store.change() as tables:
            volume = tables["ec2_volumes"].get(volume_id)
            if volume is None or not volume["Attachments"]:
                return
            attachment, file = volume["Attachments"][0], volume["_file"] and Path(volume["_file"])
            machine = machines.get(attachment["InstanceId"])
            running = tables["ec2_instances"][machine.ec2_id]["State"] == "running"
            entry = next((v for v in machine.volumes if v["file"] == volume["_file"]), None)
        if running and entry and entry["loop"]:
            containers.disappear(machine, entry["device"])
            if force:
                volumes.sever(file, entry["loop"])
        if file:
            volumes.detach(file)
            while volumes.attached(file):
                # Its last user has it still: the kernel lets go of the device when that ends.
                if not _busy(volume_id):
                    return
                time.sleep(0.2)
        with store.change() as tables:
            volume = tables["ec2_volumes"].get(volume_id)
            if volume is None or not volume["Attachments"]:
                return
            volume["Attachments"], volume["State"] = [], "available"
            machine = machines.get(machine.ec2_id)
            machine.volumes = [v for v in machine.volumes if v["file"] != volume["_file"]]
            machines.save(machine)
            containers.write_devices(machine)
    except Exception:
        LOG.exception("detaching %s", volume_id)


def _busy(volume_id: str) -> bool:
    """Says so in the attachment; whether the volume is still being detached."""
    with store.change() as tables:
        volume = tables["ec2_volumes"].get(volume_id)
        leaving = volume and next((a for a in volume["Attachments"] if a["State"] in ("detaching", "busy")), None)
        if leaving and leaving["State"] != "busy":
            leaving["State"] = "busy"
        return bool(leaving)
