"""What LocalStack loads: a provider for each service, with moto behind it for the operations that are not here.

What ec2 and ssm have no room for here goes to LocalStack's own providers, as all of sns, sts and so on does; elbv2 goes to
moto until it has a room of its own.
"""

from localstack.aws.spec import load_service
from localstack.services.ec2.provider import Ec2Provider
from localstack.services.moto import MotoFallbackDispatcher, _proxy_moto
from localstack.services.plugins import Service, aws_provider
from localstack.services.ssm.provider import SsmProvider

from . import apps, attachments, deployments, ebs, elb as classic, instances, layers, model, rds, scaling, stacks, tags
from . import ec2_images, ec2_instances, ec2_launch, ec2_modify, ec2_network, ec2_status, ec2_tags, ec2_volumes, ec2_world, ssm as parameters

OPSWORKS = {}
for room in (stacks, layers, apps, instances, deployments, attachments, rds, ebs, scaling, tags):
    OPSWORKS.update(room.OPERATIONS)
ELB = dict(classic.OPERATIONS)
EC2 = {}
for room in (ec2_launch, ec2_instances, ec2_status, ec2_volumes, ec2_modify, ec2_network, ec2_images, ec2_tags):
    EC2.update(room.OPERATIONS)
SSM = dict(parameters.OPERATIONS)


class Provider:
    def __init__(self, service: str):
        self.service = service


def served(service: str, operations: dict, behind=None) -> Service:
    """`behind` is LocalStack's provider for what `operations` has not; without one it is moto."""

    def table(_provider) -> dict:
        spec = load_service(service)
        handlers = dict(MotoFallbackDispatcher(behind)) if behind else {n: _proxy_moto for n in spec.operation_names}
        for name, function in operations.items():
            handlers[name] = answered(spec.operation_model(name), function, strict=service == "opsworks")
        return handlers

    return Service.for_provider(Provider(service), dispatch_table_factory=table)


def answered(operation, function, strict: bool):
    """A handler as LocalStack calls it: checks the request, and keeps to the members of the response's shape."""

    def handle(context, request):
        # What a client left out may arrive as null; to every room, absent is absent.
        given = {key: value for key, value in (request or {}).items() if value is not None}
        if strict:
            model.check(operation, given)
        if operation.service_model.service_name in ("ec2", "ssm"):
            if given.pop("DryRun", False):
                raise ec2_world.error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
            answer = function(ec2_world.of(context), given)
        else:
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
    return served("elbv2", {})


@aws_provider(api="ec2", name="testbed")
def ec2():
    return served("ec2", EC2, behind=Ec2Provider())


@aws_provider(api="ssm", name="testbed")
def ssm():
    return served("ssm", SSM, behind=SsmProvider())
