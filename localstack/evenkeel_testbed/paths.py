"""Where the proving ground keeps what it makes: one state directory, and names inside it."""

import os
from hashlib import sha256
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
LOCALSTACK_DIR = PACKAGE.parent
STATE = Path(os.environ.get("EVENKEEL_TESTBED") or LOCALSTACK_DIR.parent / ".testbed").resolve()

PKI = STATE / "pki"
LOG = STATE / "log"
RUN = STATE / "run"
VOLUMES = STATE / "volumes"
STATE_FILE = STATE / "state.json"

# Several proving grounds can stand on one machine, each with its own number: it shifts the port, the instances'
# network and the balancers' addresses.
NUMBER = int(os.environ.get("EVENKEEL_TESTBED_NUMBER") or 0)
PORT = 4566 + NUMBER
NETWORK = "evenkeel-testbed" + (f"-{NUMBER}" if NUMBER else "")
SUBNET = f"10.{213 + NUMBER}.0.0/16"
GATEWAY = f"10.{213 + NUMBER}.0.1"
BALANCERS = [f"127.{1 + NUMBER}.0.{last}" for last in range(1, 255)]
REGISTRY = "registry.example.com"
# As instance/image names what it builds: with Docker in it, and without.
_RECIPE = sha256((LOCALSTACK_DIR / "instance" / "image").read_bytes()).hexdigest()[:16]
IMAGE = f"evenkeel/instance:{_RECIPE}"
BARE_IMAGE = f"evenkeel/instance-bare:{_RECIPE}"
# As database/image names it.
DATABASE_IMAGE = "evenkeel/database:" + sha256(
    b"".join((LOCALSTACK_DIR / "database" / file).read_bytes() for file in ("image", "serve"))
).hexdigest()[:16]
# Where the instances' metadata service listens, on the gateway; 169.254.169.254 leads there from inside.
METADATA_PORT = 8169
LABELS = {"evenkeel.testbed": "1", "evenkeel.state": str(STATE)}


def machine_address(number: int) -> str:
    """The address of the machine of that number, from 0 to 59,999; the gateway is not among them."""
    return f"10.{213 + NUMBER}.{1 + number // 250}.{2 + number % 250}"


def engine_log(ec2_instance_id: str) -> Path:
    return LOG / f"engine-{ec2_instance_id}.log"


def console_log(ec2_instance_id: str) -> Path:
    return LOG / f"console-{ec2_instance_id}.log"


def instance_dir(ec2_instance_id: str) -> Path:
    return RUN / "instances" / ec2_instance_id
