"""EC2 instances as Docker engines in containers of their own, each with its address and its volumes.

OpsWorks starts its instances through this room; EC2's have a boot of their own in ec2/containers.py, and share what is
here. A machine knows nothing of stacks or layers. The functions here block on Docker; callers run them off the
gateway's threads.
"""

import http.client
import logging
import os
import ssl
import threading
import time
from dataclasses import asdict, dataclass, field
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Callable

import docker
import docker.errors
from docker.types import IPAMConfig, IPAMPool

from . import paths, pki, volumes
from .testbed import store

LOG = logging.getLogger(__name__)

ENGINE_PORT = 2376
ENGINE_TIMEOUT = 60
STOP_GRACE = 20

# Where --privileged is refused (a sandbox without CAP_SYS_RESOURCE), naming every other capability does.
CAPABILITIES = [
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "CHOWN", "DAC_OVERRIDE",
    "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE",
    "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT",
    "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_TIME", "SYS_TTY_CONFIG",
    "WAKE_ALARM",
]  # fmt: skip


@dataclass
class Machine:
    """One EC2 instance. `state` is EC2's word: pending, running, stopping, stopped, terminated, or `lost`
    for one whose container died without anybody asking."""

    ec2_id: str
    container: str
    hostname: str
    region: str
    address: str = ""
    state: str = "stopped"
    user_data: str = ""
    # Without Docker in its image.
    bare: bool = False
    # [{"file": backing file, "device": "/dev/xvdf", "mount": "/srv", "loop": "/dev/loop3" or ""}]
    volumes: list[dict] = field(default_factory=list)


def get(ec2_id: str) -> Machine | None:
    with store.read() as tables:
        record = tables["machines"].get(ec2_id)
        return Machine(**record) if record else None


def save(machine: Machine) -> None:
    with store.change() as tables:
        tables["machines"][machine.ec2_id] = asdict(machine)


def set_state(ec2_id: str, state: str) -> None:
    with store.change() as tables:
        if ec2_id in tables["machines"]:
            tables["machines"][ec2_id]["state"] = state


def allocate_address(within: IPv4Network | None = None) -> str:
    """The next address that no machine and no database has, of the subnet if one is named. Addresses go round, so that a new machine
    rarely gets one that a stopped machine had a moment ago."""
    with store.change() as tables:
        used = {m["address"] for m in tables["machines"].values() if m["state"] != "terminated"} | {paths.GATEWAY}
        used |= {d["_address"] for d in tables["databases"].values()}
        # AWS keeps the first four addresses of a subnet and the last one.
        many = within.num_addresses - 5 if within else 60000
        counter = f"_last_address/{within}" if within else "_last_address"
        last = tables["config"].get(counter, 0)
        for step in range(1, many + 1):
            number = (last + step) % many
            address = str(within[4 + number]) if within else paths.machine_address(number)
            if address not in used:
                tables["config"][counter] = number
                return address
    raise RuntimeError("no address is left")


def launch(machine: Machine) -> None:
    """Starts the machine; returns when its container runs, which is a second or two before its engine answers.
    A container that runs already (LocalStack was restarted in between) is kept."""
    existing = _named(machine.container)
    if existing is not None:
        if existing.status == "running" and _belongs(existing, machine):
            return
        # Left over, or of a deleted instance of the same hostname whose termination is still under way.
        _remove(existing)
    directory = paths.instance_dir(machine.ec2_id)
    pki.write_leaf(paths.PKI, directory / "tls", machine.hostname, [machine.hostname, "localhost"], [machine.address])
    (directory / "user-data").write_text(machine.user_data)
    for volume in machine.volumes:
        volume["loop"] = volumes.attach(Path(volume["file"]))
    save(machine)
    mounts = " ".join(f"{v['device']}:{v['mount']}" for v in machine.volumes)
    start_container(
        machine,
        binds=[f"{directory}:/etc/evenkeel:rw", f"{paths.LOCALSTACK_DIR / 'instance' / 'boot'}:/usr/local/sbin/boot:ro"],
        devices=[f"{v['loop']}:{v['device']}:rwm" for v in machine.volumes],
        environment=[f"EVENKEEL_MOUNTS={mounts}"],
        root=None if any(v["mount"] == "/var/lib/docker" for v in machine.volumes) else "/var/lib/docker",
    )


def start_container(
    machine: Machine, binds: list[str], devices: list[str], environment: list[str], root: str | None
) -> None:
    """Makes the machine's container, whose first process is /usr/local/sbin/boot, and starts it. `root` is where the
    engine's part of its root device is mounted: overlay2 needs a file system below it that is no overlay itself."""
    log = paths.engine_log(machine.ec2_id)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    binds = [
        *binds,
        f"{log}:/var/log/engine:rw",
        f"{paths.PKI / 'ca.pem'}:/etc/docker/certs.d/{paths.REGISTRY}/ca.crt:ro",
        "/sys/fs/cgroup:/sys/fs/cgroup:rw",
    ]
    client = docker_client()
    if root:
        client.volumes.create(_root_volume(machine), labels=paths.LABELS)
        binds.append(f"{_root_volume(machine)}:{root}:rw")
    api = client.api
    host = api.create_host_config(
        binds=binds,
        devices=devices,
        extra_hosts={paths.REGISTRY: paths.GATEWAY},
        dns=["127.0.0.1"],
        tmpfs={"/run": "exec", "/tmp": "exec"},
        network_mode=paths.NETWORK,
    )
    host.update(_privileges())
    created = api.create_container_from_config(
        {
            "Image": paths.BARE_IMAGE if machine.bare else paths.IMAGE,
            "Cmd": ["/usr/local/sbin/boot"],
            "Hostname": machine.hostname,
            "Env": [*environment, "container=docker"],
            "Labels": {**paths.LABELS, "evenkeel.ec2-instance": machine.ec2_id},
            "HostConfig": host,
            "NetworkingConfig": api.create_networking_config(
                {paths.NETWORK: api.create_endpoint_config(ipv4_address=machine.address)}
            ),
        },
        machine.container,
    )
    api.start(created["Id"])


def wait_engine(machine: Machine, still_wanted: Callable[[], bool]) -> bool:
    """Whether the engine answered over TLS before the time-out, or before nobody wanted it any more."""
    deadline = time.monotonic() + ENGINE_TIMEOUT
    while time.monotonic() < deadline and still_wanted():
        if engine_answers(machine):
            return True
        if not running(machine):
            return False
        time.sleep(0.15)
    return False


def engine_answers(machine: Machine) -> bool:
    client = paths.PKI / "client"
    context = ssl.create_default_context(cafile=str(client / "ca.pem"))
    context.load_cert_chain(str(client / "cert.pem"), str(client / "key.pem"))
    connection = http.client.HTTPSConnection(machine.address, ENGINE_PORT, timeout=2, context=context)
    try:
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def running(machine: Machine) -> bool:
    container = container_of(machine)
    return container is not None and container.status == "running"


def stop(machine: Machine, grace: int = STOP_GRACE) -> None:
    """Stops the engine in order, removes the container, frees the loop devices; the volumes keep their data."""
    container = container_of(machine)
    if container is not None:
        try:
            if container.status == "running":
                container.stop(timeout=grace)
        except docker.errors.NotFound:
            pass
        _remove(container)
    for volume in machine.volumes:
        volumes.detach(Path(volume["file"]))
        volume["loop"] = ""
    save(machine)


def restart(machine: Machine) -> None:
    container = container_of(machine)
    if container is None:
        launch(machine)
    else:
        container.restart(timeout=STOP_GRACE)


def restart_engine(machine: Machine) -> None:
    """Ends dockerd inside the machine; its boot script starts another one."""
    container = container_of(machine)
    if container is not None:
        container.exec_run(["pkill", "-x", "dockerd"])


def terminate(machine: Machine, delete_volumes: bool) -> None:
    """Stops the machine for good. Its record stays as `terminated`: EC2 still knows the id for a while."""
    stop(machine, grace=2)
    try:
        docker_client().volumes.get(_root_volume(machine)).remove(force=True)
    except docker.errors.NotFound:
        pass
    if delete_volumes:
        for volume in machine.volumes:
            volumes.delete(Path(volume["file"]))
    machine.volumes = []
    machine.state = "terminated"
    save(machine)


def alive() -> set[str]:
    """The ids of the machines that run and are not frozen, of all at once."""
    filters = {"label": [f"evenkeel.state={paths.STATE}"], "status": "running"}
    found = docker_client().api.containers(filters=filters)
    return {c["Labels"].get("evenkeel.ec2-instance") for c in found if "(Paused)" not in c["Status"]}


def watch(on_change: Callable[[str, bool], None]) -> None:
    """Calls `on_change(ec2 id, running)` whenever a machine's container dies or starts. Never returns."""
    wanted = {"type": "container", "event": ["die", "start"], "label": f"evenkeel.state={paths.STATE}"}
    while True:
        try:
            for event in docker.DockerClient(timeout=None).events(decode=True, filters=wanted):
                ec2_id = event["Actor"]["Attributes"].get("evenkeel.ec2-instance")
                if ec2_id:
                    on_change(ec2_id, event["Action"] == "start")
        except Exception as error:
            LOG.warning("Docker's events ended (%s); asking again", error)
            time.sleep(1)


def ensure_network() -> None:
    client = docker_client()
    try:
        client.networks.get(paths.NETWORK)
    except docker.errors.NotFound:
        pool = IPAMPool(subnet=paths.SUBNET, gateway=paths.GATEWAY)
        client.networks.create(
            paths.NETWORK, driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels=paths.LABELS
        )


_local = threading.local()


def docker_client() -> docker.DockerClient:
    """One client a thread: the connection pool below it is not made for sharing."""
    if not hasattr(_local, "client"):
        _local.client = docker.DockerClient(timeout=120)
    return _local.client


def _named(name: str):
    try:
        return docker_client().containers.get(name)
    except docker.errors.NotFound:
        return None


def container_of(machine: Machine):
    found = _named(machine.container)
    return found if found is not None and _belongs(found, machine) else None


def _belongs(container, machine: Machine) -> bool:
    return container.labels.get("evenkeel.ec2-instance") == machine.ec2_id


def _remove(container) -> None:
    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        pass
    except docker.errors.APIError as error:
        # 409: somebody else is removing it already.
        if error.status_code != 409:
            raise


def _root_volume(machine: Machine) -> str:
    return f"evenkeel-root-{machine.ec2_id}"


def _privileges() -> dict:
    """--privileged where the host grants it, else what it amounts to, in the words of Docker's HostConfig."""
    if _may_be_privileged():
        return {"Privileged": True}
    return {
        "CapAdd": CAPABILITIES,
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "DeviceCgroupRules": ["a *:* rwm"],
    }


@cache
def _may_be_privileged() -> bool:
    """Docker's --privileged asks for every capability the kernel knows; one that is missing makes it fail."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            return int(line.split()[1], 16) == (1 << (last + 1)) - 1
    return os.geteuid() == 0
