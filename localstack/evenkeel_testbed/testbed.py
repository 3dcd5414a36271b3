"""The one store of the running plug-in, and the small things that every room needs."""

import datetime
import secrets
import uuid

from . import paths
from .store import Store

store = Store(paths.STATE_FILE)

ACCOUNT = "000000000000"


def new_id() -> str:
    """OpsWorks ids are UUIDs."""
    return str(uuid.uuid4())


def ec2_id(prefix: str) -> str:
    """EC2 ids are a prefix and 17 hexadecimal digits."""
    return f"{prefix}-{secrets.token_hex(9)[:17]}"


def now() -> str:
    """OpsWorks tells times as ISO 8601 text with an offset."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def arn(region: str, kind: str, resource_id: str) -> str:
    return f"arn:aws:opsworks:{region}:{ACCOUNT}:{kind}/{resource_id}/"


DEFAULTS = {
    "state_delay": 0.3,
    "elb_registration_delay": 0.0,
    "drain_min": 1.0,
    "health_interval_override": None,
    # How long a target group still names an instance that was terminated; AWS's documents do not say.
    "elb_terminated_delay": 60.0,
    # 1: a draining target is shown as such until its delay is over, even with nothing in flight, as AWS documents for
    # application load balancers.
    "drain_whole_delay": 0,
    # 1: a draining target that fails its checks is said to be `unhealthy.draining`.
    "unhealthy_draining": 0,
    "status_check_delay": 1.0,
    "impaired_after": 5.0,
    "volume_optimizing": 1.0,
    "volume_modification_interval": 21600.0,
    "terminated_visible": 3600.0,
    "assumed_role_seconds": None,
}


def setting(name: str):
    """A delay that tests may change (GET and POST /_evenkeel/config), in seconds."""
    return store.tables["config"].get(name, DEFAULTS[name])
