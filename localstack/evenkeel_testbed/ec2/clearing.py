"""How a test, or the end, clears EC2's table."""

import logging
import shutil
import threading

from .. import paths
from . import ebs, life
from ..testbed import store

LOG = logging.getLogger(__name__)
TABLES = ("ec2_seeds", "ec2_tokens", "ec2_vpcs", "ec2_subnets", "ec2_security_groups", "ec2_images", "ec2_key_pairs",
          "ec2_credentials", "ssm_parameters")  # fmt: skip
MARK = "evenkeel:stack"


def clear(stack: str | None) -> bool:
    """Ends the instances and volumes that bear the stack's mark, or all of every account; whether there were any."""
    with store.read() as tables:
        instances = [i["InstanceId"] for i in tables["ec2_instances"].values() if stack in (None, i["Tags"].get(MARK))]
        marked = [v for v in tables["ec2_volumes"].values() if stack in (None, v["Tags"].get(MARK))]
    enders = [threading.Thread(target=_end, args=(instance_id,)) for instance_id in instances]
    for ender in enders:
        ender.start()
    for ender in enders:
        ender.join()
    with store.change() as tables:
        for volume in marked:
            # One that is in use by an instance of another stack stays: it is that one's to give up.
            if volume["VolumeId"] in tables["ec2_volumes"] and not volume["Attachments"]:
                ebs.forget(tables, volume)
        for key in [k for k, t in tables["ec2_tokens"].items() if set(t["instances"]) & set(instances)]:
            del tables["ec2_tokens"][key]
        if stack is None:
            for table in TABLES:
                tables[table].clear()
    return bool(instances or marked)


def _end(instance_id: str) -> None:
    try:
        # A walk of it that is under way finds no record, and ends.
        with store.change() as tables:
            tables["ec2_instances"].pop(instance_id, None)
        life.end(instance_id)
        shutil.rmtree(paths.instance_dir(instance_id), ignore_errors=True)
    except Exception:
        LOG.exception("instance %s", instance_id)
