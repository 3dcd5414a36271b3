"""RDS' database instances: the words over faked servers, and a real one with a PostgreSQL that answers."""

import socket
import struct

import pytest
from botocore.exceptions import ClientError

from conftest import REGION, until
from test_end_to_end import sh, state_directory

ARN = f"arn:aws:rds:{REGION}:000000000000:db:shop-db"


def wanted(**more) -> dict:
    return {
        "DBInstanceIdentifier": "Shop-DB", "Engine": "postgres", "DBInstanceClass": "db.t3.micro", "AllocatedStorage": 20,
        "MasterUsername": "shop", "MasterUserPassword": "correct-horse", **more,
    }  # fmt: skip


def told(rooms, name: str = "shop-db", **more) -> dict:
    return rooms("DescribeDBInstances", DBInstanceIdentifier=name, **more)["DBInstances"][0]


def available(rooms, name: str = "shop-db") -> dict:
    return until(lambda: (found := told(rooms, name))["DBInstanceStatus"] == "available" and found)


def test_an_instance_has_no_endpoint_before_its_server_answers(rooms, monkeypatch):
    from evenkeel_testbed import servers

    monkeypatch.setattr(servers, "answers", lambda record: False)
    made = rooms("CreateDBInstance", **wanted())["DBInstance"]
    assert made["DBInstanceStatus"] == told(rooms)["DBInstanceStatus"] == "creating"
    assert "Endpoint" not in made and made["DBInstanceIdentifier"] == "shop-db" and made["DBInstanceArn"] == ARN
    monkeypatch.setattr(servers, "answers", lambda record: True)
    endpoint = available(rooms)["Endpoint"]
    assert endpoint["Port"] == 5432 and endpoint["Address"].startswith("10.")
    assert told(rooms, ARN)["Endpoint"] == endpoint
    assert "correct-horse" not in str(rooms("DescribeDBInstances"))


def test_what_rds_refuses_is_refused_in_its_words(rooms):
    rooms("CreateDBInstance", **wanted())
    for code, request in [
        ("DBInstanceAlreadyExists", wanted()),
        ("InvalidParameterValue", wanted(DBInstanceIdentifier="shop--db")),
        ("InvalidParameterValue", wanted(Engine="db2-se")),
        ("InvalidParameterValue", wanted(DBInstanceIdentifier="b", MasterUserPassword="short")),
        ("InvalidParameterValue", wanted(DBInstanceIdentifier="b", MasterUserPassword="with a blank")),
        ("InvalidParameterValue", wanted(DBInstanceIdentifier="b", Port=80)),
        ("InvalidParameterCombination", wanted(DBInstanceIdentifier="b", AllocatedStorage=None)),
    ]:
        with pytest.raises(Exception) as refused:
            rooms("CreateDBInstance", **request)
        assert refused.value.code == code, refused.value
    for name in ("other", ARN.replace(REGION, "eu-west-3"), ARN + "x"):
        with pytest.raises(Exception) as refused:
            told(rooms, name)
        assert (refused.value.code, refused.value.status_code) == ("DBInstanceNotFound", 404)


def test_instances_are_of_their_region_and_told_page_by_page(rooms):
    for number in range(25):
        rooms("CreateDBInstance", **wanted(DBInstanceIdentifier=f"shop-{number:02}"))
    rooms("CreateDBInstance", region="eu-west-3", **wanted())
    first = rooms("DescribeDBInstances", MaxRecords=20)
    rest = rooms("DescribeDBInstances", MaxRecords=20, Marker=first["Marker"])
    names = [d["DBInstanceIdentifier"] for page in (first, rest) for d in page["DBInstances"]]
    assert names == [f"shop-{number:02}" for number in range(25)] and "Marker" not in rest
    addresses = {available(rooms, name)["Endpoint"]["Address"] for name in names}
    assert len(addresses) == 25


def test_a_deleted_instance_is_gone_once_its_server_is(rooms):
    rooms("CreateDBInstance", **wanted())
    available(rooms)
    with pytest.raises(Exception) as refused:
        rooms("DeleteDBInstance", DBInstanceIdentifier="shop-db")
    assert refused.value.code == "InvalidParameterCombination"
    deleted = rooms("DeleteDBInstance", DBInstanceIdentifier="shop-db", SkipFinalSnapshot=True)["DBInstance"]
    assert deleted["DBInstanceStatus"] == "deleting"
    until(lambda: not rooms("DescribeDBInstances")["DBInstances"])
    rooms("CreateDBInstance", **wanted())


def test_opsworks_looks_for_a_database_once_when_it_is_registered(rooms):
    stack = rooms(
        "CreateStack", Name="shop", Region=REGION, ServiceRoleArn="arn:aws:iam::000000000000:role/r",
        DefaultInstanceProfileArn="arn:aws:iam::000000000000:instance-profile/p",
    )["StackId"]  # fmt: skip
    rooms("CreateDBInstance", **wanted())
    endpoint = available(rooms)["Endpoint"]
    for arn in (ARN, ARN + "-2"):
        rooms("RegisterRdsDbInstance", StackId=stack, RdsDbInstanceArn=arn, DbUser="shop", DbPassword="correct-horse")
    there, missing = rooms("DescribeRdsDbInstances", StackId=stack)["RdsDbInstances"]
    assert (there["MissingOnRds"], there["Address"], there["Engine"]) == (False, endpoint["Address"], "postgres")
    assert missing["MissingOnRds"] and there["DbPassword"] == "*****FILTERED*****"


def test_a_real_server_answers_where_rds_says_and_knows_its_master(client, control):
    rds = client("rds")
    name = "test-databases"
    rds.create_db_instance(**wanted(DBInstanceIdentifier=name, DBName="shop", Port=5433))
    try:
        with pytest.raises(ClientError, match="DBInstanceAlreadyExists"):
            rds.create_db_instance(**wanted(DBInstanceIdentifier=name))
        describe = lambda: rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]  # noqa: E731
        found = until(lambda: (d := describe())["DBInstanceStatus"] == "available" and d, 60)
        endpoint = found["Endpoint"]
        assert session(endpoint, "shop", "shop") == ("R", 10)  # it asks for SCRAM-SHA-256
        server = f"evenkeel-{found['DbiResourceId'].lower()}"
        assert "correct-horse" not in sh("docker", "inspect", server)
        assert (state_directory() / "run" / "databases" / found["DbiResourceId"]).exists()
    finally:
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    until(lambda: name not in str(rds.describe_db_instances()), 30)
    assert server not in sh("docker", "ps", "-a") and server not in sh("docker", "volume", "ls")
    assert not (state_directory() / "run" / "databases" / found["DbiResourceId"]).exists()


def session(endpoint: dict, user: str, database: str) -> tuple[str, int]:
    """What the server answers to who wants to begin a session: the kind of its first message, and its first number."""
    words = f"user\0{user}\0database\0{database}\0\0".encode()
    with socket.create_connection((endpoint["Address"], endpoint["Port"]), timeout=5) as connection:
        connection.sendall(struct.pack("!ii", 8 + len(words), 3 << 16) + words)
        answer = connection.recv(64)
        return chr(answer[0]), struct.unpack("!i", answer[5:9])[0]
