"""Smithy's protocol in CBOR, spoken by hand as the SDK for Rust speaks it with CloudWatch."""

import datetime
import urllib.error
import urllib.request

from cbor2 import dumps, loads

REGION = "ap-east-2"
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
QUERY = {
    "Id": "i0",
    "MetricStat": {
        "Metric": {
            "Namespace": "AWS/EC2",
            "MetricName": "CPUUtilization",
            "Dimensions": [{"Name": "InstanceId", "Value": f"i-{NOW:%H%M%S}"}],
        },
        "Period": 60,
        "Stat": "Average",
    },
}


def asked(endpoint: str, operation: str, request: dict):
    scope = f"Credential=test/20260101/{REGION}/monitoring/aws4_request"
    headers = {
        "smithy-protocol": "rpc-v2-cbor",
        "Content-Type": "application/cbor",
        "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=x",
    }
    url = f"{endpoint}/service/GraniteServiceVersion20100801/operation/{operation}"
    body = dumps(request, datetime_as_timestamp=True)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        answer = opener.open(urllib.request.Request(url, data=body, headers=headers), timeout=30)
    except urllib.error.HTTPError as refused:
        answer = refused
    assert answer.headers["Content-Type"] == "application/cbor"
    return answer.status, answer.headers, loads(answer.read())


def test_a_point_that_is_put_is_told_with_its_minute(endpoint):
    metric = QUERY["MetricStat"]["Metric"]
    point = {"MetricName": metric["MetricName"], "Dimensions": metric["Dimensions"], "Timestamp": NOW, "Value": 12.5}
    assert asked(endpoint, "PutMetricData", {"Namespace": "AWS/EC2", "MetricData": [point]})[0] == 200
    start = NOW.replace(second=0)
    times = {"StartTime": start - datetime.timedelta(minutes=5), "EndTime": start + datetime.timedelta(minutes=1)}
    status, _, told = asked(endpoint, "GetMetricData", {"MetricDataQueries": [QUERY], **times})
    result = told["MetricDataResults"][0]
    assert (status, result["Id"], result["Timestamps"], result["Values"]) == (200, "i0", [start], [12.5])


def test_an_error_has_its_code_in_the_body_and_in_the_header_of_the_older_protocol(endpoint, control):
    fault = {"service": "cloudwatch", "operation": "GetMetricData", "region": REGION, "error": "AccessDenied", "times": 1}
    control("faults", fault)
    request = {"MetricDataQueries": [QUERY], "StartTime": NOW, "EndTime": NOW}
    status, headers, told = asked(endpoint, "GetMetricData", request)
    assert (status, headers["x-amzn-query-error"]) == (403, "AccessDenied;Sender")
    assert told["__type"].endswith("#AccessDenied") and "not authorized" in told["message"]
