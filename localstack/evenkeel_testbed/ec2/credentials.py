"""Temporary credentials of an instance's role, as the metadata service hands them out.

They are kept in the store, so that they outlive a restart of LocalStack; the access key tells LocalStack the account.
"""

import datetime
import secrets

from moto.iam.models import iam_backends
from moto.iam.utils import generate_access_key_id_from_account_id

from .. import testbed
from ..testbed import store

LIFETIME = datetime.timedelta(hours=6)
# AWS has new ones ready "at least five minutes before the expiration of the old ones" (EC2 user guide, "IAM roles").
RENEWED = datetime.timedelta(minutes=5)


def of_instance(instance: dict) -> dict:
    """The instance's present credentials, in the members and words of iam/security-credentials/ROLE."""
    now = datetime.datetime.now(datetime.timezone.utc)
    with store.change() as tables:
        kept = tables["ec2_credentials"]
        current = next((c for c in kept.values() if c["instance"] == instance["InstanceId"] and not c["replaced"]), None)
        if current and datetime.datetime.fromisoformat(current["expiration"]) - now > RENEWED:
            return shown(current)
        if current:
            current["replaced"] = True
        # LocalStack tells the account from keys of its own prefix only; AWS's begin with ASIA.
        key = generate_access_key_id_from_account_id(instance["_account"], "LSIA")
        kept[key] = {
            "instance": instance["InstanceId"],
            "account": instance["_account"],
            "role": role(instance),
            "key": key,
            "secret": secrets.token_urlsafe(30),
            "token": "IQoJb3JpZ2luX2Vj" + secrets.token_urlsafe(300),
            "updated": now.isoformat(),
            "expiration": (now + LIFETIME).isoformat(),
            "replaced": False,
        }
        return shown(kept[key])


def shown(credentials: dict) -> dict:
    def moment(text: str) -> str:
        return datetime.datetime.fromisoformat(text).strftime("%Y-%m-%dT%H:%M:%SZ")

    return {
        "Code": "Success",
        "LastUpdated": moment(credentials["updated"]),
        "Type": "AWS-HMAC",
        "AccessKeyId": credentials["key"],
        "SecretAccessKey": credentials["secret"],
        "Token": credentials["token"],
        "Expiration": moment(credentials["expiration"]),
    }


def role(instance: dict) -> str | None:
    """The role in the instance's profile: IAM's, where somebody made the profile there; else of the profile's name."""
    profile = instance.get("IamInstanceProfile")
    if not profile:
        return None
    name = profile["Arn"].rpartition("/")[2]
    for known in iam_backends[instance["_account"]]["aws"].instance_profiles.values():
        if known.name == name and known.roles:
            return known.roles[0].name
    return name


def forget(instance_id: str) -> None:
    with store.change() as tables:
        for key in [k for k, c in tables["ec2_credentials"].items() if c["instance"] == instance_id]:
            del tables["ec2_credentials"][key]


def expire(instance_id: str) -> None:
    """Ends the present credentials of an instance; the metadata service has new ones."""
    with store.change() as tables:
        for one in tables["ec2_credentials"].values():
            if one["instance"] == instance_id:
                one["replaced"] = True
                one["expiration"] = testbed.now()
