"""What HAProxy is told of a classic load balancer: one pool, checked by the backend `health`."""

from . import haproxy, paths
from .haproxy import EMPTY, SLOTS, Pool, Seat, Taken


def pool(balancer: dict) -> Pool:
    return Pool(balancer, "health", {f"b{x['LoadBalancerPort']}": x["InstancePort"] for x in balancer["Listeners"]})


def render(balancer: dict, interval_override: float | None, taken: Taken) -> str:
    """The configuration of a balancer record (elb.py)."""
    check = balancer["HealthCheck"]
    seats = taken.get("health", {})
    protocol, port, path = haproxy.parse_target(check["Target"])
    interval = round(1000 * (interval_override or check["Interval"]))
    # The interval may be shortened for tests; what a target is given to answer in is not: a busy machine is no sick one.
    lines = haproxy.head(balancer, balancer["Attributes"]["ConnectionSettings"]["IdleTimeout"], check["Timeout"])
    lines.append("backend health")
    if protocol in ("HTTP", "HTTPS"):
        lines += ["    mode http", f"    option httpchk GET {path}", "    http-check expect status 200"]
    else:
        lines += ["    mode tcp"]
    secure = " check-ssl verify none" if protocol in ("HTTPS", "SSL") else ""
    for slot in range(1, SLOTS + 1):
        # A server that begins disabled keeps those that track it in maintenance, whatever the state file says.
        disabled = "" if slot in seats else " disabled"
        lines.append(
            f"    server s{slot} {_address(seats, slot)}:{port} check port {port}{secure} inter {interval}ms "
            f"rise {check['HealthyThreshold']} fall {check['UnhealthyThreshold']}{disabled}"
        )
    for listener in balancer["Listeners"]:
        lines += _listener(balancer, listener, seats)
    return "\n".join(lines) + "\n"


def _listener(balancer: dict, listener: dict, seats: dict[int, Seat]) -> list[str]:
    port = listener["LoadBalancerPort"]
    mode = "http" if listener["Protocol"].upper() in ("HTTP", "HTTPS") else "tcp"
    tls = f" ssl crt {paths.PKI / 'balancer.pem'}" if listener["Protocol"].upper() in ("HTTPS", "SSL") else ""
    to_tls = " ssl verify none" if listener["InstanceProtocol"].upper() in ("HTTPS", "SSL") else ""
    lines = [
        f"frontend f{port}",
        f"    mode {mode}",
        f"    bind {balancer['Address']}:{port}{tls}",
        f"    default_backend b{port}",
        f"backend b{port}",
        f"    mode {mode}",
        "    balance roundrobin",
    ]
    if mode == "http":
        scheme = "https" if tls else "http"
        lines += [
            "    option forwardfor",
            f"    http-request set-header X-Forwarded-Proto {scheme}",
            f"    http-request set-header X-Forwarded-Port {port}",
        ]
    for slot in range(1, SLOTS + 1):
        lines.append(
            f"    server s{slot} {_address(seats, slot)}:{listener['InstancePort']} track health/s{slot}{to_tls}"
        )
    return lines


def _address(seats: dict[int, Seat], slot: int) -> str:
    return seats[slot].address if slot in seats else EMPTY
