"""The PostgreSQL servers behind RDS' database instances: a container each, in the instances' network.

A server has its instance's address for life, and its data in a volume. Both bear the proving ground's labels, so that
`down` finds them whatever else was lost. The functions here that block on Docker run in a thread of their own.
"""

import logging
import shutil
import socket
import struct
import threading
import time
from pathlib import Path

import docker
import docker.errors

from . import machines, paths, testbed
from .testbed import store

LOG = logging.getLogger(__name__)

PATIENCE = 60


def write_password(record: dict, password: str) -> None:
    """The master's, where the server reads it: it is in no table, no environment and no command line."""
    file = _directory(record) / "password"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(password)
    file.chmod(0o644)


def begin(record: dict) -> None:
    """Starts the server in the background; the instance is available once it answers."""
    threading.Thread(target=_begin, args=(dict(record),), name=f"database {name(record)}", daemon=True).start()


def end(record: dict) -> None:
    threading.Thread(target=_end, args=(dict(record),), name=f"database {name(record)}", daemon=True).start()


def resume() -> None:
    """After a restart of LocalStack or of the engine: what was begun goes on, and what runs is left as it is."""
    for record in list(store.tables["databases"].values()):
        (end if record["DBInstanceStatus"] == "deleting" else begin)(record)


def clear() -> None:
    """Every server, and all that is known of it."""
    with store.change() as tables:
        gone = list(tables["databases"].values())
        tables["databases"].clear()
    for record in gone:
        remove(record)


def name(record: dict) -> str:
    return f"evenkeel-{record['DbiResourceId'].lower()}"


def _begin(record: dict) -> None:
    try:
        launch(record)
        deadline = time.monotonic() + PATIENCE
        while not answers(record):
            if time.monotonic() > deadline:
                raise RuntimeError("its server does not answer")
            if not _is_wanted(record):
                break
            time.sleep(0.1)
        time.sleep(testbed.setting("state_delay"))
        _become(record, "creating", "available")
    except Exception:
        LOG.exception("database %s", name(record))
        _become(record, "creating", "failed")
    # It may have been deleted meanwhile, by somebody who found no container yet.
    if not _is_wanted(record):
        remove(record)


def _end(record: dict) -> None:
    try:
        time.sleep(testbed.setting("state_delay"))
        remove(record)
        with store.change() as tables:
            # By now it may be another of that name.
            found = tables["databases"].get(record["_key"])
            if found and found["DbiResourceId"] == record["DbiResourceId"]:
                del tables["databases"][record["_key"]]
    except Exception:
        LOG.exception("database %s", name(record))


def _become(record: dict, before: str, after: str) -> None:
    with store.change() as tables:
        found = tables["databases"].get(record["_key"])
        if found and found["DbiResourceId"] == record["DbiResourceId"] and found["DBInstanceStatus"] == before:
            found["DBInstanceStatus"] = after


def _is_wanted(record: dict) -> bool:
    with store.read() as tables:
        found = tables["databases"].get(record["_key"])
        return bool(found) and found["DbiResourceId"] == record["DbiResourceId"] and found["DBInstanceStatus"] != "deleting"


def launch(record: dict) -> None:
    """Has the server's container run; one that is there is started where it does not."""
    client = machines.docker_client()
    try:
        client.containers.get(name(record)).start()
        return
    except docker.errors.NotFound:
        pass
    client.volumes.create(name(record), labels=paths.LABELS)
    api = client.api
    created = api.create_container_from_config(
        {
            "Image": paths.DATABASE_IMAGE,
            "Hostname": record["DBInstanceIdentifier"],
            "Env": [
                f"MASTER={record['MasterUsername']}",
                f"DATABASE={record['DBName'] or ''}",
                f"PORT={record['_port']}",
            ],
            "Labels": {**paths.LABELS, "evenkeel.rds": record["DBInstanceArn"]},
            # A fast shutdown: sessions are ended, and what was committed is kept.
            "StopSignal": "SIGINT",
            "HostConfig": api.create_host_config(
                binds=[f"{name(record)}:/data:rw", f"{_directory(record)}:/etc/evenkeel:ro"],
                network_mode=paths.NETWORK,
                restart_policy={"Name": "unless-stopped"},
            ),
            "NetworkingConfig": api.create_networking_config(
                {paths.NETWORK: api.create_endpoint_config(ipv4_address=record["_address"])}
            ),
        },
        name(record),
    )
    api.start(created["Id"])


def answers(record: dict) -> bool:
    """Whether a PostgreSQL server accepts connections there: to who wants to begin a session it sends a request to
    authenticate, and while it is starting an error ("Start-up", Frontend/Backend Protocol)."""
    words = f"user\0{record['MasterUsername']}\0database\0postgres\0\0".encode()
    begin_session = struct.pack("!ii", 8 + len(words), 3 << 16) + words
    try:
        with socket.create_connection((record["_address"], record["_port"]), timeout=2) as connection:
            connection.sendall(begin_session)
            return connection.recv(1) == b"R"
    except OSError:
        return False


def remove(record: dict) -> None:
    client = machines.docker_client()
    for kept in (client.containers, client.volumes):
        try:
            kept.get(name(record)).remove(force=True)
        except docker.errors.NotFound:
            pass
        except docker.errors.APIError as error:
            # 409: somebody else is removing it already.
            if error.status_code != 409:
                raise
    shutil.rmtree(_directory(record), ignore_errors=True)


def _directory(record: dict) -> Path:
    return paths.RUN / "databases" / record["DbiResourceId"]
