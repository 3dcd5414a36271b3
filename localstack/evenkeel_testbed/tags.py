"""Tags of stacks and layers, at most 40 each (API reference of TagResource)."""

from .errors import not_found, validation
from .resources import reading, visible
from .testbed import store

LIMIT = 40


def tag_resource(region: str, request: dict) -> dict:
    with store.change() as tables:
        arn = _existing(tables, region, request["ResourceArn"])
        for key in request["Tags"]:
            if key.lower().startswith("aws:"):
                raise validation(f"Tag key '{key}' is reserved: it cannot start with aws:")
        tags = {**tables["tags"].get(arn, {}), **request["Tags"]}
        if len(tags) > LIMIT:
            raise validation(f"A resource can have at most {LIMIT} tags")
        tables["tags"][arn] = tags
    return {}


def untag_resource(region: str, request: dict) -> dict:
    with store.change() as tables:
        tags = tables["tags"].get(_existing(tables, region, request["ResourceArn"]), {})
        for key in request["TagKeys"]:
            tags.pop(key, None)
    return {}


def list_tags(region: str, request: dict) -> dict:
    """ "MaxResults: Do not use. A validation exception occurs if you add a MaxResults parameter" (API reference)."""
    for unusable in ("MaxResults", "NextToken"):
        if request.get(unusable) is not None:
            raise validation(f"{unusable} is not supported by ListTags")
    with reading(region) as tables:
        return {"Tags": dict(tables["tags"].get(_existing(tables, region, request["ResourceArn"]), {}))}


def _existing(tables: dict, region: str, arn: str) -> str:
    for table in ("stacks", "layers"):
        for record in tables[table].values():
            owner = tables["stacks"][record["StackId"]]
            if record["Arn"].rstrip("/") == arn.rstrip("/") and visible(owner, region):
                return record["Arn"]
    raise not_found("resource", arn)


OPERATIONS = {"TagResource": tag_resource, "UntagResource": untag_resource, "ListTags": list_tags}
