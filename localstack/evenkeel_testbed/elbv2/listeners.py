"""Listeners and their certificates: the requests."""

import re

from .. import account, faults
from ..errors import elb_error
from ..testbed import store
from . import actions, records, registration
from .records import ALB_PROTOCOLS, BALANCERS, LISTENERS, NLB_PROTOCOLS, RULES, invalid

SECURE = ("HTTPS", "TLS")
POLICY = "ELBSecurityPolicy-2016-08"


def create(region: str, request: dict) -> dict:
    """ "If you attempt to create multiple listeners with the same settings, each call succeeds." """
    with store.change() as tables:
        balancer = records.balancer(tables, region, request["LoadBalancerArn"])
        port, protocol = request.get("Port"), request.get("Protocol")
        if port is None or protocol is None:
            raise invalid("A port and a protocol must be specified")
        number = records.new_id()
        short, name = records.KINDS[balancer["Type"]], balancer["Name"]
        wanted = {
            "Arn": records.arn(region, f"listener/{short}/{name}/{balancer['Id']}/{number}"),
            "Id": number,
            "Region": region,
            "Account": account.current(),
            "LoadBalancerArn": balancer["Arn"],
            "Tags": records.tags(request),
            "Extra": [],
            **_checked(tables, region, balancer, {}, request),
        }
        same = _on_port(tables, balancer, port)
        if same is None:
            tables[LISTENERS][wanted["Arn"]] = wanted
            _start(tables, balancer, wanted, None)
        elif any(same.get(key) != wanted.get(key) for key in ("Protocol", "Certificates", "SslPolicy", "DefaultActions")):
            raise _duplicate(balancer)
        return {"Listeners": [_shown(same or wanted)]}


def describe(region: str, request: dict) -> dict:
    with store.read(faults.lag("elbv2", region)) as tables:
        arns = request.get("ListenerArns") or []
        if bool(arns) == bool(request.get("LoadBalancerArn")):
            raise invalid("You must specify either listener ARNs or a load balancer ARN")
        if arns:
            found = [records.listener(tables, region, wanted) for wanted in dict.fromkeys(arns)]
        else:
            balancer = records.balancer(tables, region, request["LoadBalancerArn"])
            found = records.of_balancer(tables, LISTENERS, balancer["Arn"])
        page, more = records.page(found, request)
        return {"Listeners": [_shown(listener) for listener in page], **more}


def modify(region: str, request: dict) -> dict:
    with store.change() as tables:
        listener = records.listener(tables, region, request["ListenerArn"])
        balancer = tables[BALANCERS][listener["LoadBalancerArn"]]
        before = dict(listener)
        changed = _checked(tables, region, balancer, listener, request)
        other = _on_port(tables, balancer, changed["Port"])
        if other is not None and other is not listener:
            raise _duplicate(balancer)
        listener.update(changed)
        _start(tables, balancer, listener, before)
        return {"Listeners": [_shown(listener)]}


def delete(region: str, request: dict) -> dict:
    with store.change() as tables:
        listener = records.listener(tables, region, request["ListenerArn"])
        del tables[LISTENERS][listener["Arn"]]
        for rule in [r for r in tables[RULES].values() if r["ListenerArn"] == listener["Arn"]]:
            del tables[RULES][rule["Arn"]]
        registration.start(tables, tables[BALANCERS][listener["LoadBalancerArn"]])
    return {}


def add_certificates(region: str, request: dict) -> dict:
    """ "If the certificate is already in the certificate list, the call is successful but the certificate is not
    added again." """
    with store.change() as tables:
        listener = records.listener(tables, region, request["ListenerArn"])
        if listener["Protocol"] not in SECURE:
            raise invalid(f"Certificates cannot be added to a listener of protocol {listener['Protocol']}")
        wanted = [_certificate(c["CertificateArn"]) for c in request["Certificates"]]
        listener["Extra"] = list(dict.fromkeys([*listener["Extra"], *wanted]))
        return {"Certificates": [{"CertificateArn": arn, "IsDefault": False} for arn in wanted]}


def remove_certificates(region: str, request: dict) -> dict:
    with store.change() as tables:
        listener = records.listener(tables, region, request["ListenerArn"])
        gone = {c["CertificateArn"] for c in request["Certificates"]}
        if gone & set(listener["Certificates"]):
            raise elb_error("OperationNotPermitted", "The default certificate of a listener cannot be removed")
        listener["Extra"] = [arn for arn in listener["Extra"] if arn not in gone]
    return {}


def describe_certificates(region: str, request: dict) -> dict:
    with store.read(faults.lag("elbv2", region)) as tables:
        listener = records.listener(tables, region, request["ListenerArn"])
        found = [{"CertificateArn": arn, "IsDefault": True} for arn in listener["Certificates"]]
        found += [{"CertificateArn": arn, "IsDefault": False} for arn in listener["Extra"]]
        page, more = records.page(found, request, key="CertificateArn")
        return {"Certificates": page, **more}


def _duplicate(balancer: dict):
    return elb_error("DuplicateListener", f"A listener already exists on this port for load balancer '{balancer['Arn']}'")


def _on_port(tables: dict, balancer: dict, port: int) -> dict | None:
    return next((x for x in records.of_balancer(tables, LISTENERS, balancer["Arn"]) if x["Port"] == port), None)


def _start(tables: dict, balancer: dict, listener: dict, before: dict | None) -> None:
    """A listener that HAProxy cannot run (its port is taken, say) is as if it had never been asked for."""
    try:
        registration.start(tables, balancer)
    except RuntimeError:
        if before is None:
            del tables[LISTENERS][listener["Arn"]]
        else:
            listener.update(before)
        raise


def _checked(tables: dict, region: str, balancer: dict, present: dict, request: dict) -> dict:
    given = {**present, **request}
    port, protocol = given["Port"], given["Protocol"]
    allowed = ALB_PROTOCOLS if balancer["Type"] == "application" else NLB_PROTOCOLS
    if protocol not in allowed:
        raise elb_error("UnsupportedProtocol", f"Listener protocol '{protocol}' must be one of '{', '.join(allowed)}'")
    if not 1 <= port <= 65535:
        raise invalid(f"Port '{port}' must be between 1 and 65535")
    certificates = present.get("Certificates") or []
    if request.get("Certificates"):
        certificates = [_certificate(c.get("CertificateArn") or "") for c in request["Certificates"]]
    if protocol in SECURE and len(certificates) != 1:
        few = "must be specified" if not certificates else "alone can be the default"
        raise invalid(f"A certificate {few} for {protocol} listeners")
    if protocol not in SECURE and request.get("Certificates"):
        raise invalid(f"A certificate cannot be specified for {protocol} listeners")
    return {
        "Port": port,
        "Protocol": protocol,
        "Certificates": certificates if protocol in SECURE else [],
        "SslPolicy": (given.get("SslPolicy") or POLICY) if protocol in SECURE else None,
        "AlpnPolicy": given.get("AlpnPolicy"),
        "DefaultActions": actions.checked(tables, region, balancer, protocol, given.get("DefaultActions") or []),
    }


def _certificate(arn: str) -> str:
    if not re.fullmatch(r"arn:aws[\w-]*:(acm:[\w-]+:\d{12}:certificate/.+|iam::\d{12}:server-certificate/.+)", arn):
        raise elb_error("CertificateNotFound", f"Certificate '{arn}' not found")
    return arn


def _shown(listener: dict) -> dict:
    return {
        **listener,
        "ListenerArn": listener["Arn"],
        "Certificates": [{"CertificateArn": arn} for arn in listener["Certificates"]] or None,
    }


OPERATIONS = {
    "CreateListener": create,
    "DescribeListeners": describe,
    "ModifyListener": modify,
    "DeleteListener": delete,
    "AddListenerCertificates": add_certificates,
    "RemoveListenerCertificates": remove_certificates,
    "DescribeListenerCertificates": describe_certificates,
}
