"""How a test, or the end, clears the table."""

import logging
import shutil
import threading
from pathlib import Path

from . import boot, haproxy, machines, paths, registration, servers, stacks, volumes
from .ec2 import clearing as ec2_clearing
from .elbv2 import clearing as v2_clearing, registration as v2_registration
from .testbed import store

LOG = logging.getLogger(__name__)


def reset(stack_id: str | None) -> None:
    """Removes a stack with its instances and its layers' balancers, or everything, without ceremony. What EC2 and the
    second version of load balancers have of a stack is known by its tag."""
    known_to_ec2 = ec2_clearing.clear(stack_id)
    with store.change() as tables:
        cleared = v2_clearing.clear(tables, stack_id)
        if stack_id is not None and stack_id not in tables["stacks"]:
            if cleared or known_to_ec2:
                return
            raise LookupError(f"stack {stack_id}")
        gone = [stack_id] if stack_id else list(tables["stacks"])
        attached = [
            registration.key(a["Region"], a["ElasticLoadBalancerName"])
            for a in tables["attachments"].values()
            if a["StackId"] in gone
        ]
        names = attached if stack_id else list(tables["balancers"])
        for balancer in [b for b in (tables["balancers"].pop(name, None) for name in names) if b]:
            haproxy.stop(balancer)
        instances = [i for i in tables["instances"].values() if i["StackId"] in gone]
        owners = {i["Ec2InstanceId"]: i["InstanceId"] for i in instances if i.get("Ec2InstanceId")}
        if stack_id is None:
            owners = {ec2_id: owners.get(ec2_id, ec2_id) for ec2_id in tables["machines"]}
        # Volumes that outlived their instance (DeleteVolumes: false) belong to no machine any more.
        files = [Path(v["_file"]) for v in tables["volumes"].values() if v["StackId"] in gone]
        for one in gone:
            for table in ("instances", "layers", "apps"):
                for key in [k for k, record in tables[table].items() if record["StackId"] == one]:
                    tables["load_scaling"].pop(key, None)
                    tables["time_scaling"].pop(key, None)
                    del tables[table][key]
            stacks.forget(tables, one)
            del tables["stacks"][one]
    enders = [threading.Thread(target=_end, args=pair) for pair in owners.items()]
    for ender in enders:
        ender.start()
    for ender in enders:
        ender.join()
    for file in files:
        volumes.delete(file)
    # A database is no stack's.
    if stack_id is None:
        servers.clear()


def restart_balancers() -> None:
    """With new check intervals; a balancer whose configuration is the same stays as it is."""
    with store.change() as tables:
        for balancer in tables["balancers"].values():
            registration.start(balancer)
    v2_registration.start_all()


def _end(ec2_id: str, instance_id: str) -> None:
    try:
        machine = machines.get(ec2_id)
        if machine is not None:
            boot.terminate(instance_id, machine, delete_volumes=True)
        shutil.rmtree(paths.instance_dir(ec2_id), ignore_errors=True)
        with store.change() as tables:
            tables["machines"].pop(ec2_id, None)
    except Exception:
        LOG.exception("machine %s", ec2_id)
