"""What LocalStack loads: a provider for each service, with moto behind it for the operations that are not here.

EC2 and SSM have a provider of their own (ec2/provider.py); operations of sns and so on are LocalStack's own.
"""

from localstack.aws.spec import load_service
from localstack.services.moto import _proxy_moto
from localstack.services.plugins import Service, aws_provider

from . import account, apps, attachments, databases, deployments, ebs, elb as classic, instances, layers, model, rds, scaling
from . import stacks, tags
from .elbv2 import balancers, groups, listeners, rules, tags as v2_tags, targets

OPSWORKS = {}
for room in (stacks, layers, apps, instances, deployments, attachments, rds, ebs, scaling, tags):
    OPSWORKS.update(room.OPERATIONS)
ELB = dict(classic.OPERATIONS)
RDS = dict(databases.OPERATIONS)
ELBV2 = {}
for room in (balancers, groups, listeners, rules, targets, v2_tags):
    ELBV2.update(room.OPERATIONS)


class Provider:
    def __init__(self, service: str):
        self.service = service


def served(service: str, operations: dict) -> Service:
    def table(_provider) -> dict:
        spec = load_service(service)
        handlers = {name: _proxy_moto for name in spec.operation_names}
        for name, function in operations.items():
            handlers[name] = answered(spec.operation_model(name), function, strict=service != "elb")
        return handlers

    return Service.for_provider(Provider(service), dispatch_table_factory=table)


def answered(operation, function, strict: bool):
    """A handler as LocalStack calls it: checks the request, and keeps to the members of the response's shape."""

    def handle(context, request):
        # What a client left out may arrive as null; to every room, absent is absent.
        given = {key: value for key, value in (request or {}).items() if value is not None}
        if strict:
            model.check(operation, given)
        account.enter(getattr(context, "account_id", None))
        answer = function(context.region, given)
        return model.shaped(operation.output_shape, answer) if operation.output_shape else {}

    return handle


@aws_provider(api="opsworks")
def opsworks():
    return served("opsworks", OPSWORKS)


@aws_provider(api="elb")
def elb():
    return served("elb", ELB)


@aws_provider(api="elbv2")
def elbv2():
    return served("elbv2", ELBV2)


@aws_provider(api="rds")
def relational_databases():
    return served("rds", RDS)
