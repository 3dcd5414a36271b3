"""Requests made from botocore's model: every member that an operation takes, with a value of the right type."""

SPECIAL = {
    "CustomJson": '{"evenkeel": {"stack": "shop"}}',
    "VolumeType": "gp2",
    "MountPoint": "/srv/data",
    "NumberOfDisks": 1,
    "RaidLevel": 0,
    "Size": 2,
    "Shortname": "short",
    "Hostname": "machine7",
    "Tenancy": "default",
    "Key": "APP_TYPE",
    "ThresholdsWaitTime": 7,
    "IgnoreMetricsTime": 8,
    "RdsDbInstanceArn": "arn:aws:rds:eu-central-1:000000000000:db:shop-db",
    "Region": "eu-central-1",
}


def sample(shape, name: str = ""):
    if name in SPECIAL:
        return SPECIAL[name]
    kind = shape.type_name
    if kind == "structure":
        return {key: sample(member, key) for key, member in shape.members.items()}
    if kind == "list":
        return [sample(shape.member, name)]
    if kind == "map":
        return {_first(shape.key, "key"): sample(shape.value, "value")}
    if kind == "boolean":
        return True
    if kind in ("integer", "long"):
        return 3
    if kind in ("double", "float"):
        return 3.5
    return _first(shape, f"some-{name.lower()}")


def _first(shape, otherwise: str) -> str:
    return shape.enum[0] if getattr(shape, "enum", None) else otherwise
