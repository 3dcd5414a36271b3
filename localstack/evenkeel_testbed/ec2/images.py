"""Images and key pairs. What an image boots is Debian 12; what differs is what the API says of it, and whether Docker is in it."""

import base64
import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.exceptions import UnsupportedAlgorithm

from .. import testbed
from . import world
from .network import given_tags
from .pages import filtered, page, tag_list
from .world import Where, changing, error, find, find_all, key_pair_key, mine, reading

ROOT_GIB = 8


def describe_images(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        ids = request.get("ImageIds")
        found = find_all(tables, where, "ec2_images", ids) if ids else mine(tables, "ec2_images", where)
        owners = request.get("Owners") or []
        if owners:
            found = [
                i for i in found if {i["OwnerId"], i.get("ImageOwnerAlias")} & {_owner(o, where) for o in owners}
            ]
        getters = {
            "image-id": lambda i: i["ImageId"],
            "name": lambda i: i["Name"],
            "description": lambda i: i["Description"],
            "owner-id": lambda i: i["OwnerId"],
            "owner-alias": lambda i: i.get("ImageOwnerAlias"),
            "architecture": lambda i: "x86_64",
            "state": lambda i: "available",
            "root-device-type": lambda i: "ebs",
            "virtualization-type": lambda i: "hvm",
            "is-public": lambda i: i["Public"],
        }
        found, more = page(where, filtered(found, request, getters), request, "ImageId", "ImageIds", bounds=(1, 1000))
        return {"Images": [_image(i) for i in found], **more}


def deregister_image(where: Where, request: dict) -> dict:
    with changing(where) as tables:
        del tables["ec2_images"][find(tables, where, "ec2_images", request["ImageId"])["ImageId"]]
    return {}


def create_key_pair(where: Where, request: dict) -> dict:
    """The private key is in this answer and nowhere else."""
    kind = request.get("KeyType") or "rsa"
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    shape = serialization.PrivateFormat.OpenSSH if kind == "ed25519" else serialization.PrivateFormat.TraditionalOpenSSL
    material = key.private_bytes(serialization.Encoding.PEM, shape, serialization.NoEncryption()).decode()
    return {**_saved(where, request, public.decode(), kind), "KeyMaterial": material}


def import_key_pair(where: Where, request: dict) -> dict:
    material = request.get("PublicKeyMaterial") or b""
    try:
        text = (material if isinstance(material, bytes) else base64.b64decode(material)).strip()
        key = serialization.load_ssh_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise error("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from None
    kinds = {rsa.RSAPublicKey: "rsa", ed25519.Ed25519PublicKey: "ed25519"}
    kind = next((name for cls, name in kinds.items() if isinstance(key, cls)), None)
    if kind is None:
        raise error("InvalidKey.Format", "Only RSA and ED25519 keys can be imported")
    return _saved(where, request, text.decode(), kind)


def describe_key_pairs(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        names, ids = request.get("KeyNames"), request.get("KeyPairIds") or []
        found = find_all(tables, where, "ec2_key_pairs", names) if names else mine(tables, "ec2_key_pairs", where)
        for key_id in ids:
            if not any(k["KeyPairId"] == key_id for k in found):
                raise error("InvalidKeyPair.NotFound", f"The key pair '{key_id}' does not exist")
        found = [k for k in found if not ids or k["KeyPairId"] in ids]
        getters = {
            "key-name": lambda k: k["KeyName"],
            "key-pair-id": lambda k: k["KeyPairId"],
            "fingerprint": lambda k: k["KeyFingerprint"],
        }
        shown = [_key(k) for k in filtered(found, request, getters)]
        if not request.get("IncludePublicKey"):
            shown = [{k: v for k, v in pair.items() if k != "PublicKey"} for pair in shown]
        return {"KeyPairs": shown}


def delete_key_pair(where: Where, request: dict) -> dict:
    """A key pair that is not there is deleted already."""
    with changing(where) as tables:
        for name, pair in list(tables["ec2_key_pairs"].items()):
            if pair in mine(tables, "ec2_key_pairs", where) and (
                pair["KeyName"] == request.get("KeyName") or pair["KeyPairId"] == request.get("KeyPairId")
            ):
                del tables["ec2_key_pairs"][name]
    return {"Return": True}


def _saved(where: Where, request: dict, public: str, kind: str) -> dict:
    name = request.get("KeyName")
    if not name:
        raise error("MissingParameter", "The request must contain the parameter KeyName")
    with changing(where) as tables:
        if key_pair_key(where, name) in tables["ec2_key_pairs"]:
            raise error("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
        digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
        pair = world.record(
            where,
            KeyName=name,
            KeyPairId=testbed.ec2_id("key"),
            KeyType=kind,
            KeyFingerprint=base64.b64encode(digest).decode().rstrip("="),
            PublicKey=public,
            CreateTime=testbed.now(),
            Tags=given_tags(request, "key-pair"),
        )
        tables["ec2_key_pairs"][key_pair_key(where, name)] = pair
    return _key(pair)


def _key(pair: dict) -> dict:
    return {**pair, "Tags": tag_list(pair["Tags"])}


def _owner(owner: str, where: Where) -> str:
    return where.account if owner == "self" else owner


def _image(image: dict) -> dict:
    return {
        **image,
        "Tags": tag_list(image["Tags"]),
        "Architecture": "x86_64",
        "State": "available",
        "ImageType": "machine",
        "RootDeviceType": "ebs",
        "VirtualizationType": "hvm",
        "Hypervisor": "xen",
        "EnaSupport": True,
        "PlatformDetails": "Linux/UNIX",
        "CreationDate": "2025-07-21T00:00:00.000Z",
        "BlockDeviceMappings": [
            {
                "DeviceName": image["RootDeviceName"],
                "Ebs": {
                    "DeleteOnTermination": True,
                    "VolumeSize": ROOT_GIB,
                    "VolumeType": "gp3",
                    "Encrypted": False,
                    "SnapshotId": "snap-" + image["ImageId"][4:],
                },
            }
        ],
    }


OPERATIONS = {
    "DescribeImages": describe_images,
    "DeregisterImage": deregister_image,
    "CreateKeyPair": create_key_pair,
    "ImportKeyPair": import_key_pair,
    "DescribeKeyPairs": describe_key_pairs,
    "DeleteKeyPair": delete_key_pair,
}
