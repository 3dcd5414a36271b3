"""Checks signature and expiry of requests that are made with temporary credentials, as AWS would: an instance's, and an
assumed role's.

LocalStack takes any signature. What runs on an instance signs by hand, in a few lines of its bootstrap; a mistake in them
must not come to light on AWS only. Requests with other credentials are not looked at.
"""

import datetime
import hmac
import re
from collections import defaultdict

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from localstack.aws.api import CommonServiceException

from .. import cbor
from ..testbed import store

CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,\s*"
    r"SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]+)"
)
SKEW = datetime.timedelta(minutes=5)
# What a service says to a token it does not know, to one that has expired, and to a wrong signature, and with which HTTP
# status ("Common Errors" of the API references).
WORDS = defaultdict(
    lambda: (("InvalidClientTokenId", 403), ("ExpiredToken", 403), ("SignatureDoesNotMatch", 403)),
    json=(("UnrecognizedClientException", 400), ("ExpiredTokenException", 400), ("InvalidSignatureException", 400)),
    ec2=(("AuthFailure", 401), ("RequestExpired", 400), ("SignatureDoesNotMatch", 403)),
)


def keep_body(chain, context, response) -> None:
    """A form is read from the body once, and the body is what was signed: it is kept where it will be asked for."""
    given = CREDENTIAL.fullmatch(context.request.headers.get("Authorization", ""))
    if given and given["key"].startswith("LSIA") and given["service"] != "s3":
        context.request.get_data(cache=True)


def check(context) -> None:
    """Raises what AWS answers to credentials that are not whole, have expired, or do not fit the signature."""
    request = cbor.asked(context)
    given = CREDENTIAL.fullmatch(request.headers.get("Authorization", ""))
    with store.read() as tables:
        known = given and tables["ec2_credentials"].get(given["key"])
        known = known and dict(known)
    if not known:
        return
    words = WORDS["json" if context.service.protocol == "json" else given["service"]]
    if request.headers.get("X-Amz-Security-Token") != known["token"]:
        raise _refused(words[0], "The security token included in the request is invalid.")
    now = datetime.datetime.now(datetime.timezone.utc)
    if now >= datetime.datetime.fromisoformat(known["expiration"]):
        raise _refused(words[1], "The security token included in the request is expired")
    wrong = _wrong(request, given, known, now)
    if wrong:
        raise _refused(words[2], wrong)


def _wrong(request, given, known: dict, now: datetime.datetime) -> str | None:
    moment = request.headers.get("X-Amz-Date", "")
    try:
        signed_at = datetime.datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    except ValueError:
        return f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: {moment}"
    if abs(now - signed_at) > SKEW:
        return f"Signature expired: {moment} is now later or earlier than the server's time by more than 5 min."
    names = given["headers"].split(";")
    if names != sorted(names) or not {"host", "x-amz-security-token", "x-amz-date"} <= set(names):
        return "'Host', 'X-Amz-Date' and 'X-Amz-Security-Token' must be signed, in alphabetical order."
    original = AWSRequest(method=request.method, url=request.url, data=request.get_data())
    for name in names:
        original.headers[name] = request.headers.get(name, "")
    original.context["timestamp"] = moment
    signer = SigV4Auth(Credentials(known["key"], known["secret"], known["token"]), given["service"], given["region"])
    expected = signer.signature(signer.string_to_sign(original, signer.canonical_request(original)), original)
    if not hmac.compare_digest(expected, given["signature"]):
        return (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
            "Key and signing method. Consult the service documentation for details."
        )
    return None


def _refused(word: tuple[str, int], message: str) -> CommonServiceException:
    return CommonServiceException(word[0], message, word[1], sender_fault=True)
