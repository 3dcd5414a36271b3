"""RDS: database instances, each with a PostgreSQL server behind it (servers.py).

An instance is `creating`, and has no endpoint, until its server answers; then it is `available`. It is known by its
identifier or its ARN, in its account and region. What is checked, and the errors, are of the RDS API reference.
"""

import datetime
import re

from localstack.aws.api import CommonServiceException

from . import account, faults, machines, servers, testbed
from .testbed import store

IDENTIFIER = re.compile(r"[A-Za-z](-?[A-Za-z0-9])*")
ARN = re.compile(r"arn:aws[\w-]*:rds:([a-z0-9-]+):(\d{12}):db:([A-Za-z0-9-]+)")
# Of those that RDS has, the one that Debian's package is.
ENGINE, VERSION = "postgres", "15"


def create(region: str, request: dict) -> dict:
    identifier = request["DBInstanceIdentifier"].lower()
    if not IDENTIFIER.fullmatch(identifier) or len(identifier) > 63:
        raise invalid(
            "InvalidParameterValue", f"Invalid database identifier:  {request['DBInstanceIdentifier']}"
        )
    if request["Engine"] != ENGINE:
        raise invalid("InvalidParameterValue", f"Invalid DB engine: {request['Engine']} (the proving ground has postgres)")
    for name in ("MasterUsername", "MasterUserPassword", "AllocatedStorage"):
        if not request.get(name):
            raise invalid("InvalidParameterCombination", f"The request must contain the parameter {name}.")
    password = request["MasterUserPassword"]
    if not 8 <= len(password) <= 128 or re.search(r'[/@" ]|[^\x20-\x7e]', password):
        raise invalid(
            "InvalidParameterValue",
            "The parameter MasterUserPassword is not a valid password. Only printable ASCII characters besides '/', '@', "
            "'\"', ' ' may be used, and 8 to 128 of them.",
        )
    port = request.get("Port", 5432)
    if not 1150 <= port <= 65535:
        raise invalid("InvalidParameterValue", f"Invalid endpoint port {port}, must be between 1150 and 65535")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,62}", request["MasterUsername"]):
        raise invalid("InvalidParameterValue", "The parameter MasterUsername is not a valid identifier.")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", request.get("DBName", "postgres")):
        raise invalid("InvalidParameterValue", "DBName must begin with a letter and contain only alphanumeric characters.")
    with store.change() as tables:
        key = _key(region, identifier)
        if key in tables["databases"]:
            raise invalid("DBInstanceAlreadyExists", "DB instance already exists")
        record = tables["databases"][key] = {
            "DBInstanceIdentifier": identifier,
            "DBInstanceArn": f"arn:aws:rds:{region}:{account.current()}:db:{identifier}",
            "DbiResourceId": "db-" + testbed.new_id().replace("-", "").upper()[:26],
            "DBInstanceClass": request["DBInstanceClass"],
            "DBInstanceStatus": "creating",
            "Engine": ENGINE,
            "EngineVersion": request.get("EngineVersion", VERSION),
            "MasterUsername": request["MasterUsername"],
            "DBName": request.get("DBName"),
            "AllocatedStorage": request["AllocatedStorage"],
            "DbInstancePort": 0,
            "StorageType": request.get("StorageType", "gp2"),
            "MultiAZ": request.get("MultiAZ", False),
            "PubliclyAccessible": request.get("PubliclyAccessible", False),
            "BackupRetentionPeriod": request.get("BackupRetentionPeriod", 1),
            "_key": key,
            "_created": testbed.now(),
            "_port": port,
            "_address": machines.allocate_address(),
        }
        servers.write_password(record, password)
        servers.begin(record)
        return {"DBInstance": shown(record)}


def describe(region: str, request: dict) -> dict:
    with store.read(faults.lag("rds", region)) as tables:
        mine = [d for key, d in tables["databases"].items() if key.startswith(_key(region, ""))]
        if request.get("DBInstanceIdentifier"):
            mine = [_find(tables, region, request["DBInstanceIdentifier"])]
        for condition in request.get("Filters") or []:
            if condition["Name"] != "db-instance-id":
                raise invalid("InvalidParameterValue", f"Unrecognized filter name: {condition['Name']}")
            wanted = {value.lower() for value in condition["Values"]}
            mine = [d for d in mine if wanted & {d["DBInstanceIdentifier"], d["DBInstanceArn"].lower()}]
        most = request.get("MaxRecords", 100)
        if not 20 <= most <= 100:
            raise invalid("InvalidParameterValue", f"Invalid value {most} for MaxRecords. Must be between 20 and 100")
        mine = [d for d in mine if d["DBInstanceIdentifier"] > request.get("Marker", "")]
        mine.sort(key=lambda d: d["DBInstanceIdentifier"])
        page = {"DBInstances": [shown(d) for d in mine[:most]]}
        return {**page, "Marker": mine[most - 1]["DBInstanceIdentifier"]} if len(mine) > most else page


def delete(region: str, request: dict) -> dict:
    snapshot = request.get("FinalDBSnapshotIdentifier")
    if bool(snapshot) == bool(request.get("SkipFinalSnapshot", False)):
        raise invalid(
            "InvalidParameterCombination",
            "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified, and cannot be given with it.",
        )
    with store.change() as tables:
        record = _find(tables, region, request["DBInstanceIdentifier"])
        if record["DBInstanceStatus"] == "deleting":
            raise invalid("InvalidDBInstanceState", f"Instance {record['DBInstanceIdentifier']} is already being deleted.")
        record["DBInstanceStatus"] = "deleting"
        servers.end(record)
        return {"DBInstance": shown(record)}


def shown(record: dict) -> dict:
    """As RDS tells it: without an endpoint before there is one, and never with the password."""
    told = {**record, "InstanceCreateTime": datetime.datetime.fromisoformat(record["_created"])}
    if record["DBInstanceStatus"] in ("available", "deleting"):
        told["Endpoint"] = {"Address": record["_address"], "Port": record["_port"], "HostedZoneId": "Z29XKXDKYMONMX"}
    return told


def of_arn(tables: dict, arn: str) -> dict | None:
    """The instance of an ARN, wherever it is: what OpsWorks looks for when one is registered with a stack."""
    return next((d for d in tables["databases"].values() if d["DBInstanceArn"] == arn), None)


def _find(tables: dict, region: str, name: str) -> dict:
    match = ARN.fullmatch(name)
    if name.startswith("arn:") and match is None:
        raise invalid("InvalidParameterValue", f"The parameter DBInstanceIdentifier is not a valid ARN: {name}")
    if match and match.group(1) != region:
        raise not_found(match.group(3))
    identifier = (match.group(3) if match else name).lower()
    found = tables["databases"].get(_key(region, identifier))
    if found is None:
        raise not_found(identifier)
    return found


def _key(region: str, identifier: str) -> str:
    return f"{account.current()}/{region}/{identifier}"


def not_found(identifier: str) -> CommonServiceException:
    return CommonServiceException("DBInstanceNotFound", f"DBInstance {identifier} not found.", 404, sender_fault=True)


def invalid(code: str, message: str) -> CommonServiceException:
    return CommonServiceException(code, message, 400, sender_fault=True)


OPERATIONS = {
    "CreateDBInstance": create,
    "DescribeDBInstances": describe,
    "DeleteDBInstance": delete,
}
