"""EC2's machines: containers that boot as an image of a cloud does, with instance/ec2/boot as their first process.

Unlike an OpsWorks machine's, the container is kept over a stop: it is the instance's root device. Volumes are not
mounted and nothing but the metadata service tells the machine what it is. Devices come and go while it runs: a file
in the instance's directory lists them for the next boot, and `mknod` inside makes a new one appear at once.
"""

import os
import re
from pathlib import Path

import docker.errors

from .. import machines, paths, volumes
from ..machines import Machine

# What an image of a cloud has and a container has not.
PROGRAMS = ("systemctl", "journalctl", "hostnamectl")


def start(machine: Machine, hop_limit: int = 1) -> None:
    """Starts the machine for the first time or again; one that runs already (LocalStack was restarted) is kept."""
    for volume in machine.volumes:
        volume["loop"] = volumes.attach(Path(volume["file"]))
    machines.save(machine)
    write_devices(machine)
    container = machines.container_of(machine)
    if container is not None:
        if container.status != "running":
            container.start()
        return
    source = paths.LOCALSTACK_DIR / "instance" / "ec2"
    console = paths.console_log(machine.ec2_id)
    console.parent.mkdir(parents=True, exist_ok=True)
    console.touch()
    machines.start_container(
        machine,
        binds=[
            f"{paths.instance_dir(machine.ec2_id)}:/etc/testbed:ro",
            f"{console}:/var/log/console:rw",
            f"{source / 'boot'}:/usr/local/sbin/boot:ro",
            f"{source / 'units'}:/usr/local/lib/units:ro",
            *(f"{source / name}:/usr/bin/{name}:ro" for name in PROGRAMS),
        ],
        devices=[],
        environment=[
            f"EVENKEEL_METADATA={paths.GATEWAY}:{paths.METADATA_PORT}",
            f"EVENKEEL_HOP_LIMIT={hop_limit}",
        ],
        # Put in place by systemctl when an engine is started without a volume of its own.
        root="/var/lib/testbed/docker",
    )


def stop(machine: Machine) -> None:
    """Shuts the machine down in order and frees its devices; root device and volumes keep their data."""
    container = machines.container_of(machine)
    try:
        if container is not None and container.status in ("running", "paused"):
            if container.status == "paused":
                container.unpause()
            container.stop(timeout=machines.STOP_GRACE)
    except docker.errors.NotFound:
        pass
    for volume in machine.volumes:
        volumes.detach(Path(volume["file"]))
        volume["loop"] = ""
    machines.save(machine)


def write_devices(machine: Machine) -> None:
    """One line a device, `NAME MAJOR MINOR`, for the boot script."""
    directory = paths.instance_dir(machine.ec2_id)
    directory.mkdir(parents=True, exist_ok=True)
    lines = [f"{device_node(v['device'])} {' '.join(map(str, _numbers(v['loop'])))}\n" for v in machine.volumes]
    partial = directory / "devices.partial"
    partial.write_text("".join(lines))
    os.replace(partial, directory / "devices")


def appear(machine: Machine, volume: dict) -> None:
    """The volume's device inside the running machine, as after AttachVolume."""
    major, minor = _numbers(volume["loop"])
    node = device_node(volume["device"])
    _inside(machine, ["mknod", "-m", "660", node, "b", str(major), str(minor)])
    _inside(machine, ["chgrp", "disk", node])


def disappear(machine: Machine, device: str) -> None:
    _inside(machine, ["rm", "-f", device_node(device)])


def device_node(device: str) -> str:
    """EC2's /dev/sdf and xvdf are /dev/xvdf to the kernel of an instance ("Device names for volumes", user guide)."""
    return "/dev/" + re.sub(r"^(/dev/)?(sd|xvd)", "xvd", device).removeprefix("/dev/")


def _numbers(loop: str) -> tuple[int, int]:
    device = os.stat(loop).st_rdev
    return os.major(device), os.minor(device)


def _inside(machine: Machine, command: list[str]) -> None:
    container = machines.container_of(machine)
    if container is not None and container.status == "running":
        code, output = container.exec_run(command)
        if code != 0:
            raise RuntimeError(f"{' '.join(command)} in {machine.ec2_id}: {output.decode(errors='replace').strip()}")
