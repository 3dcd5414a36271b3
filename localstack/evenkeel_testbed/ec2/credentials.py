"""Temporary credentials: of an instance's role, as the metadata service hands them out, and of a role that was assumed.

They are kept in the store, so that they outlive a restart of LocalStack and a request can be held to them
(signatures.py); the access key tells LocalStack the account.
"""

import datetime
import secrets

from moto.iam.models import iam_backends
from moto.iam.utils import generate_access_key_id_from_account_id

from .. import testbed
from ..testbed import setting, store

LIFETIME = datetime.timedelta(hours=6)
# AWS has new ones ready "at least five minutes before the expiration of the old ones" (EC2 user guide, "IAM roles").
RENEWED = datetime.timedelta(minutes=5)
FORGOTTEN = datetime.timedelta(hours=1)


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


def assumed(given: dict, account: str, role_arn: str) -> dict:
    """STS's answer to AssumeRole, remembered; they expire sooner where a test wants to see them renewed."""
    now = datetime.datetime.now(datetime.timezone.utc)
    sooner = setting("assumed_role_seconds")
    until = now + datetime.timedelta(seconds=sooner) if sooner is not None else given["Expiration"]
    with store.change() as tables:
        kept = tables["ec2_credentials"]
        for key, one in list(kept.items()):
            if one["instance"] is None and now - datetime.datetime.fromisoformat(one["expiration"]) > FORGOTTEN:
                del kept[key]
        kept[given["AccessKeyId"]] = {
            "instance": None,
            "account": account,
            "role": role_arn,
            "key": given["AccessKeyId"],
            "secret": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "updated": now.isoformat(),
            "expiration": until.isoformat(),
            "replaced": False,
        }
    return {**given, "Expiration": until}


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
