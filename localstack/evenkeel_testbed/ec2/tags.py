"""Tags of whatever EC2 has: at most 50 a resource, no key that begins with aws: (EC2 user guide, "Tag your resources")."""

from .pages import filtered, page
from .world import UNKNOWN, Where, changing, error, find, mine, reading

LIMIT = 50
TABLES = {
    "i": ("ec2_instances", "instance", "InstanceId"),
    "vol": ("ec2_volumes", "volume", "VolumeId"),
    "vpc": ("ec2_vpcs", "vpc", "VpcId"),
    "subnet": ("ec2_subnets", "subnet", "SubnetId"),
    "sg": ("ec2_security_groups", "security-group", "GroupId"),
    "ami": ("ec2_images", "image", "ImageId"),
}


def create_tags(where: Where, request: dict) -> dict:
    """All or none: every resource has to be there, and to have room."""
    wanted = {tag["Key"]: tag.get("Value") or "" for tag in request["Tags"]}
    for key in wanted:
        if key.lower().startswith("aws:"):
            raise error("InvalidParameterValue", f"Tag keys starting with 'aws:' are reserved for internal use: {key}")
        if not 1 <= len(key) <= 128 or len(wanted[key]) > 256:
            raise error("InvalidParameterValue", f"Tag key or value is too long: {key}")
    with changing(where) as tables:
        found = [_resource(tables, where, resource_id) for resource_id in request["Resources"]]
        for resource in found:
            if len({**resource["Tags"], **wanted}) > LIMIT:
                raise error("TagLimitExceeded", f"The maximum number of tags for a resource is {LIMIT}")
        for resource in found:
            resource["Tags"].update(wanted)
    return {}


def delete_tags(where: Where, request: dict) -> dict:
    """A tag that is named with a value goes only if it has that value; without Tags, all of the user's go."""
    with changing(where) as tables:
        for resource in [_resource(tables, where, resource_id) for resource_id in request["Resources"]]:
            if not request.get("Tags"):
                resource["Tags"].clear()
            for tag in request.get("Tags") or []:
                if tag.get("Value") in (None, resource["Tags"].get(tag["Key"])):
                    resource["Tags"].pop(tag["Key"], None)
    return {}


def describe_tags(where: Where, request: dict) -> dict:
    with reading(where) as tables:
        found = [
            {
                "ResourceId": resource[id_name],
                "ResourceType": kind,
                "Key": key,
                "Value": value,
                "Tags": resource["Tags"],
                "_order": f"{resource[id_name]}/{key}",
            }
            for table, kind, id_name in TABLES.values()
            for resource in mine(tables, table, where)
            if not resource.get("_hidden")
            for key, value in resource["Tags"].items()
        ]
        getters = {
            "key": lambda t: t["Key"],
            "value": lambda t: t["Value"],
            "resource-id": lambda t: t["ResourceId"],
            "resource-type": lambda t: t["ResourceType"],
        }
        # Of a single tag `tag:KEY` asks for its value, and no other tag's of the same resource.
        for wanted in request.get("Filters") or []:
            if wanted["Name"].startswith("tag:"):
                found = [t for t in found if t["Key"] == wanted["Name"][4:]]
        found, more = page(where, filtered(found, request, getters), request, "_order")
        return {"Tags": found, **more}


def _resource(tables: dict, where: Where, resource_id: str) -> dict:
    prefix = resource_id.partition("-")[0]
    if prefix == "key":
        for pair in mine(tables, "ec2_key_pairs", where):
            if pair["KeyPairId"] == resource_id:
                return pair
        code, message = UNKNOWN["ec2_key_pairs"]
        raise error(code, message.format(resource_id))
    if prefix not in TABLES:
        raise error("InvalidID", f"The ID '{resource_id}' is not valid")
    return find(tables, where, TABLES[prefix][0], resource_id)


OPERATIONS = {"CreateTags": create_tags, "DeleteTags": delete_tags, "DescribeTags": describe_tags}
