"""What every AWS request passes on its way through LocalStack's gateway: it is recorded, and may meet a fault."""

import time

from localstack.aws import handlers
from localstack.aws.api import CommonServiceException
from localstack.aws.protocol.serializer import create_serializer

from . import cbor
from .calls import calls
from .ec2 import signatures
from .faults import code_status_message, faults


def install() -> None:
    handlers.preprocess_request.append(signatures.keep_body)
    handlers.preprocess_request.append(cbor.on_request)
    handlers.serve_custom_service_request_handlers.append(on_request)
    handlers.run_custom_response_handlers.append(on_response)
    handlers.run_custom_response_handlers.append(cbor.on_response)


def on_request(chain, context, response) -> None:
    if context.operation is None or context.is_internal_call:
        return
    service, operation = context.service.service_name, context.operation.name
    request = dict(context.service_request or {})
    context.evenkeel_call = calls.received(service, operation, context.region, request)
    fault = faults.take(service, operation, context.region, request)
    if fault is None:
        signatures.check(context)
        return
    if fault.get("after"):
        context.evenkeel_fault = fault
        return
    if fault.get("delay"):
        time.sleep(fault["delay"])
    if fault.get("error"):
        raise _exception(fault)


def on_response(chain, context, response) -> None:
    fault = getattr(context, "evenkeel_fault", None)
    if fault is not None:
        if fault.get("delay"):
            time.sleep(fault["delay"])
        if fault.get("error"):
            serializer = create_serializer(context.service)
            replaced = serializer.serialize_error_to_response(
                _exception(fault), context.operation, context.request.headers, context.request_id
            )
            response.update_from(replaced)
    call = getattr(context, "evenkeel_call", None)
    if call is not None:
        call["status"] = response.status_code


def _exception(fault: dict) -> CommonServiceException:
    code, status, message = code_status_message(fault)
    return CommonServiceException(code, message, status, sender_fault=status < 500)
