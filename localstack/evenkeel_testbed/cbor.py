"""Smithy's RPC protocol in CBOR, which the SDK for Rust speaks with CloudWatch and this LocalStack does not: a request is
passed on as if it had been asked in the service's own protocol, and the answer is translated back.

Source: "Smithy RPC v2 CBOR protocol" and "AWS Query compatibility" of the Smithy specification.
"""

from urllib.parse import urlencode

from botocore.serialize import create_serializer
# The compiled ones: in the others LocalStack makes milliseconds of times, as Kinesis has them.
from cbor2 import dumps, loads
from localstack.aws.client import parse_response
from localstack.aws.spec import get_service_catalog
from localstack.http import Request

PROTOCOL = "rpc-v2-cbor"
# What belongs to the body that is replaced.
OF_THE_BODY = {"content-length", "content-type", "accept", "transfer-encoding"}


def on_request(chain, context, response) -> None:
    """Runs before anything has looked into the request; what was signed is kept where signatures are checked."""
    request = context.request
    if request.headers.get("smithy-protocol") != PROTOCOL:
        return
    operation = _operation(request)
    if operation is None:
        return
    given = loads(request.get_data(cache=True)) if request.get_data(cache=True) else {}
    query = create_serializer(operation.service_model.protocol).serialize_to_request(given, operation)["body"]
    headers = {name: value for name, value in request.headers.items() if name.lower() not in OF_THE_BODY}
    headers["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    body = urlencode(query).encode()
    headers["Content-Length"] = str(len(body))
    context.evenkeel_asked_in_cbor = request
    context.request = Request("POST", "/", headers=headers, body=body, scheme=request.scheme, server=request.server)


def asked(context) -> Request:
    """The request as it came in."""
    return getattr(context, "evenkeel_asked_in_cbor", context.request)


def on_response(chain, context, response) -> None:
    """The last to touch an answer, faults included."""
    if not hasattr(context, "evenkeel_asked_in_cbor") or context.operation is None:
        return
    answer = parse_response(context.operation, response, include_response_metadata=False)
    error = answer.pop("Error", None) if response.status_code >= 300 else None
    if error:
        response.headers["x-amzn-query-error"] = f"{error['Code']};{error.get('Type', 'Sender')}"
        answer = {"__type": f"com.amazonaws#{error['Code']}", "message": error.get("Message", "")}
    response.set_response(dumps(answer, datetime_as_timestamp=True))
    response.headers["Content-Type"] = "application/cbor"
    response.headers["smithy-protocol"] = PROTOCOL


def _operation(request):
    """`POST /service/NAME/operation/NAME`; whose it is says the signature."""
    _, _, name = request.path.rpartition("/operation/")
    scope = request.headers.get("Authorization", "").split("Credential=")[-1].split(",")[0].split("/")
    signing_name = scope[3] if len(scope) > 3 else ""
    catalog = get_service_catalog()
    for service in catalog.by_signing_name(signing_name):
        model = catalog.get(*service)
        if name in model.operation_names:
            return model.operation_model(name)
    return None
