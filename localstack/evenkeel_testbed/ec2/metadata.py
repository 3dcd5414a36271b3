"""The instance metadata service, IMDSv2 ("Use the Instance Metadata Service", EC2 user guide).

It listens on the instances' gateway, and knows who asks by the address: a packet comes from the instance itself, where
169.254.169.254 is made to lead here. A session token is sealed with a secret of the store's, so that it outlives a
restart of LocalStack.
"""

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .. import paths
from . import credentials
from ..testbed import store

LOG = logging.getLogger(__name__)

TOKEN_TTL = range(1, 21601)
PREFIX = "latest/meta-data/"


def start() -> None:
    server = Server((paths.GATEWAY, paths.METADATA_PORT), Handler)
    threading.Thread(target=server.serve_forever, name="metadata", daemon=True).start()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # A fleet boots at once.
    request_queue_size = 128


class Handler(BaseHTTPRequestHandler):
    server_version = "EC2ws"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_PUT(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        instance = self._instance()
        if instance is None:
            return
        if self.headers.get("X-Forwarded-For"):
            return self._answer(403)
        if self.path != "/latest/api/token":
            return self._answer(405)
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if not ttl.isdigit() or int(ttl) not in TOKEN_TTL:
            return self._answer(400)
        self._answer(200, token(instance["InstanceId"], int(ttl)), {"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": ttl})

    def do_GET(self):
        instance = self._instance()
        if instance is None:
            return
        given = self.headers.get("X-aws-ec2-metadata-token")
        required = instance["MetadataOptions"]["HttpTokens"] == "required"
        if (given or required) and not token_holds(instance["InstanceId"], given or ""):
            return self._answer(401)
        found = answer(instance, self.path.split("?")[0].strip("/"))
        self._answer(404) if found is None else self._answer(200, found)

    def _instance(self) -> dict | None:
        """Who asks; answers at once where nobody is known, or its metadata is switched off."""
        address = self.client_address[0]
        with store.read() as tables:
            instance = next(
                (
                    dict(i)
                    for i in tables["ec2_instances"].values()
                    if i["PrivateIpAddress"] == address and i["State"] not in ("terminated", "stopped")
                ),
                None,
            )
        if instance is None:
            self._answer(404)
        elif instance["MetadataOptions"]["HttpEndpoint"] != "enabled":
            self._answer(403)
            instance = None
        return instance

    def _answer(self, status: int, body: str | bytes = "", headers: dict | None = None) -> None:
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def token(instance_id: str, ttl: int) -> str:
    until = str(int(time.time()) + ttl)
    return f"{until}.{_seal(instance_id, until)}"


def token_holds(instance_id: str, given: str) -> bool:
    until, _, seal = given.partition(".")
    return until.isdigit() and int(until) > time.time() and hmac.compare_digest(seal, _seal(instance_id, until))


def answer(instance: dict, path: str) -> str | bytes | None:
    """What is at the path: text, or a list of what is below it."""
    if path in ("", "latest"):
        return "latest" if path == "" else "dynamic\nmeta-data\nuser-data"
    if path == "latest/user-data":
        return instance["_user_data"].encode("latin-1") or None
    if path == "latest/dynamic/instance-identity/document":
        return json.dumps(identity(instance), indent=2)
    if path + "/" == PREFIX:
        path = PREFIX
    if not path.startswith(PREFIX):
        return None
    path = path.removeprefix(PREFIX)
    leaves = meta_data(instance)
    if path in leaves:
        value = leaves[path]
        return json.dumps(credentials.of_instance(instance), indent=2) if value is credentials else value
    below = {
        name.removeprefix(path + "/" if path else "").partition("/")
        for name in leaves
        if not path or name.startswith(path + "/")
    }
    return "\n".join(sorted({first + slash for first, slash, _ in below})) or None


def meta_data(instance: dict) -> dict:
    """Every leaf below meta-data/."""
    zone = instance["Placement"]["AvailabilityZone"]
    mac = instance["_mac"]
    leaves = {
        "ami-id": instance["ImageId"],
        "hostname": instance["PrivateDnsName"],
        "instance-action": "none",
        "instance-id": instance["InstanceId"],
        "instance-life-cycle": "on-demand",
        "instance-type": instance["InstanceType"],
        "local-hostname": instance["PrivateDnsName"],
        "local-ipv4": instance["PrivateIpAddress"],
        "mac": mac,
        "placement/availability-zone": zone,
        "placement/region": instance["_region"],
        "reservation-id": instance["_reservation"],
        "security-groups": "\n".join(instance["_group_names"]),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
        f"network/interfaces/macs/{mac}/local-ipv4s": instance["PrivateIpAddress"],
        f"network/interfaces/macs/{mac}/subnet-id": instance["SubnetId"],
        f"network/interfaces/macs/{mac}/vpc-id": instance["VpcId"],
    }
    if instance.get("PublicIpAddress"):
        leaves["public-ipv4"] = instance["PublicIpAddress"]
    if instance.get("_public_key"):
        leaves["public-keys/0/openssh-key"] = instance["_public_key"]
    name = credentials.role(instance)
    if name:
        leaves["iam/info"] = json.dumps(
            {
                "Code": "Success",
                "InstanceProfileArn": instance["IamInstanceProfile"]["Arn"],
                "InstanceProfileId": instance["IamInstanceProfile"]["Id"],
            }
        )
        leaves[f"iam/security-credentials/{name}"] = credentials
    if instance["MetadataOptions"]["InstanceMetadataTags"] == "enabled":
        leaves.update({f"tags/instance/{key}": value for key, value in instance["Tags"].items()})
    return leaves


def identity(instance: dict) -> dict:
    return {
        "accountId": instance["_account"],
        "architecture": "x86_64",
        "availabilityZone": instance["Placement"]["AvailabilityZone"],
        "imageId": instance["ImageId"],
        "instanceId": instance["InstanceId"],
        "instanceType": instance["InstanceType"],
        "pendingTime": instance["LaunchTime"],
        "privateIp": instance["PrivateIpAddress"],
        "region": instance["_region"],
        "version": "2017-09-30",
    }


def _seal(instance_id: str, until: str) -> str:
    with store.lock:
        config = store.tables["config"]
        if "_metadata_secret" not in config:
            with store.change() as tables:
                tables["config"]["_metadata_secret"] = secrets.token_hex(32)
        key = config["_metadata_secret"].encode()
    return hmac.new(key, f"{instance_id}/{until}".encode(), hashlib.sha256).hexdigest()
