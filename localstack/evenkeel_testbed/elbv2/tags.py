"""Tags of load balancers, target groups, listeners and rules: the requests."""

from .. import faults
from ..errors import elb_error
from ..testbed import store
from . import records


def add(region: str, request: dict) -> dict:
    wanted = records.tags(request)
    with store.change() as tables:
        found = [_resource(tables, region, arn) for arn in request["ResourceArns"]]
        for resource in found:
            if len({**resource["Tags"], **wanted}) > 50:
                raise elb_error("TooManyTags", f"'{resource['Arn']}' can have at most 50 tags")
        for resource in found:
            resource["Tags"].update(wanted)
    return {}


def remove(region: str, request: dict) -> dict:
    with store.change() as tables:
        for resource in [_resource(tables, region, arn) for arn in request["ResourceArns"]]:
            for key in request["TagKeys"]:
                resource["Tags"].pop(key, None)
    return {}


def describe(region: str, request: dict) -> dict:
    """ "You can specify up to 20 resources in a single call." """
    if len(request["ResourceArns"]) > 20:
        raise records.invalid("At most 20 resource ARNs can be specified")
    with store.read(faults.lag("elbv2", region)) as tables:
        found = {arn: _resource(tables, region, arn)["Tags"] for arn in request["ResourceArns"]}
        return {
            "TagDescriptions": [
                {"ResourceArn": arn, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
                for arn, tags in found.items()
            ]
        }


def _resource(tables: dict, region: str, arn: str) -> dict:
    kind = arn.split(":", 5)[-1].split("/")[0]
    find = {
        "loadbalancer": records.balancer,
        "targetgroup": records.group,
        "listener": records.listener,
        "listener-rule": records.rule,
    }.get(kind)
    if find is None:
        raise records.invalid(f"'{arn}' is not a valid load balancer, target group, listener or rule ARN")
    return find(tables, region, arn)


OPERATIONS = {"AddTags": add, "RemoveTags": remove, "DescribeTags": describe}
