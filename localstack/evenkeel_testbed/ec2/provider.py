"""What LocalStack loads for ec2, ssm and sts: the operations that are here, and its own providers for all others."""

from localstack.aws.api import CommonServiceException
from localstack.aws.spec import load_service
from localstack.services.ec2.provider import Ec2Provider
from localstack.services.moto import MotoFallbackDispatcher
from localstack.services.plugins import Service, aws_provider
from localstack.services.ssm.provider import SsmProvider
from localstack.services.sts.provider import StsProvider

from .. import model
from . import credentials, ebs, images, instances, launch, modify, network, ssm as parameters, status, tags, world

EC2 = {}
for room in (launch, instances, status, ebs, modify, network, images, tags):
    EC2.update(room.OPERATIONS)
SSM = dict(parameters.OPERATIONS)


def answered(operation, function):
    """A handler as LocalStack calls it, for the account and region of the request."""

    def handle(context, request):
        # What a client left out may arrive as null; to every room, absent is absent.
        given = {key: value for key, value in (request or {}).items() if value is not None}
        _check_required(operation, given)
        if given.pop("DryRun", False):
            raise world.error("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        answer = function(world.of(context), given)
        return model.shaped(operation.output_shape, answer) if operation.output_shape else {}

    return handle


def _check_required(operation, request: dict) -> None:
    missing = [m for m in (operation.input_shape.required_members if operation.input_shape else []) if m not in request]
    if missing and operation.service_model.service_name == "ec2":
        raise world.error("MissingParameter", f"The request must contain the parameter {missing[0]}")
    if missing:
        raise CommonServiceException("ValidationException", f"{missing[0]} must not be null", 400, sender_fault=True)


def _service(service: str, operations: dict, behind) -> Service:
    def table(provider) -> dict:
        spec = load_service(service)
        handlers = dict(MotoFallbackDispatcher(provider))
        handlers.update({name: answered(spec.operation_model(name), f) for name, f in operations.items()})
        return handlers

    return Service.for_provider(behind, dispatch_table_factory=table)


@aws_provider(api="ec2", name="testbed")
def ec2():
    return _service("ec2", EC2, Ec2Provider())


@aws_provider(api="ssm", name="testbed")
def ssm():
    return _service("ssm", SSM, SsmProvider())


@aws_provider(api="sts", name="testbed")
def sts():
    def table(provider) -> dict:
        handlers = dict(MotoFallbackDispatcher(provider))
        own = handlers["AssumeRole"]

        def assume_role(context, request):
            answer = own(context, request)
            account = request["RoleArn"].split(":")[4]
            return {**answer, "Credentials": credentials.assumed(answer["Credentials"], account, request["RoleArn"])}

        return {**handlers, "AssumeRole": assume_role}

    return Service.for_provider(StsProvider(), dispatch_table_factory=table)
