"""What HAProxy is told of an application or network load balancer: for each target group a backend `h<id>` that
checks and a backend `t<id>` that carries traffic; for each listener a frontend, with its rules."""

from .. import haproxy, paths
from ..haproxy import EMPTY, SLOTS, Pool, Seat, Taken
from . import records

# "TCP idle timeout" (network load balancer's user guide, "Listeners").
NETWORK_IDLE = 350


def pool(balancer: dict, group: dict) -> Pool:
    return Pool(balancer, checks(group), {f"t{group['Id']}": None})


def checks(group: dict) -> str:
    return f"h{group['Id']}"


def check_port(group: dict, port: int) -> int:
    """Where a target that takes traffic at `port` is checked."""
    return port if group["HealthCheckPort"] == "traffic-port" else int(group["HealthCheckPort"])


def render(
    balancer: dict, listeners: list[dict], rules: list[dict], groups: list[dict], interval: float | None, taken: Taken
) -> str:
    """`interval` takes the place of what the target groups say, if it is given."""
    application = balancer["Type"] == "application"
    idle = balancer["Attributes"]["idle_timeout.timeout_seconds"] if application else NETWORK_IDLE
    lines = haproxy.head(balancer, idle, 10)
    for group in sorted(groups, key=lambda g: g["Id"]):
        lines += _checks(group, interval, taken.get(checks(group), {}))
        lines += _traffic(group, taken.get(checks(group), {}))
    by_arn = {group["Arn"]: group for group in groups}
    for listener in sorted(listeners, key=lambda x: x["Port"]):
        own = [rule for rule in rules if rule["ListenerArn"] == listener["Arn"]]
        lines += _frontend(balancer, listener, sorted(own, key=lambda r: r["Priority"]), by_arn)
    return "\n".join(lines) + "\n"


def _checks(group: dict, interval: float | None, seats: dict[int, Seat]) -> list[str]:
    # The interval may be shortened for tests; what a target is given to answer in is not: a busy machine is no sick one.
    lines = [f"backend {checks(group)}", f"    timeout check {group['HealthCheckTimeoutSeconds']}s"]
    protocol = group["HealthCheckProtocol"]
    if protocol == "TCP":
        lines.append("    mode tcp")
    else:
        lines += [
            "    mode http",
            "    option httpchk",
            f"    http-check send meth GET uri {quoted(group['HealthCheckPath'])} ver HTTP/1.1 "
            "hdr Host health hdr User-Agent ELB-HealthChecker/2.0",
            f"    http-check expect status {group['Matcher']}",
        ]
    secure = " check-ssl verify none" if protocol == "HTTPS" else ""
    every = round(1000 * (interval or group["HealthCheckIntervalSeconds"]))
    for slot in range(1, SLOTS + 1):
        seat = seats.get(slot)
        address, port = (seat.address, seat.check_port) if seat else (EMPTY, check_port(group, group["Port"]))
        # A server that begins disabled keeps those that track it in maintenance, whatever the state file says.
        disabled = "" if seat else " disabled"
        lines.append(
            f"    server s{slot} {address}:{port} check port {port}{secure} inter {every}ms "
            f"rise {group['HealthyThresholdCount']} fall {group['UnhealthyThresholdCount']}{disabled}"
        )
    return lines


def _traffic(group: dict, seats: dict[int, Seat]) -> list[str]:
    mode = "http" if records.kind_of_group(group) == "application" else "tcp"
    fewest = group["Attributes"].get("load_balancing.algorithm.type") == "least_outstanding_requests"
    to_tls = " ssl verify none" if group["Protocol"] in ("HTTPS", "TLS") else ""
    lines = [f"backend t{group['Id']}", f"    mode {mode}", f"    balance {'leastconn' if fewest else 'roundrobin'}"]
    for slot in range(1, SLOTS + 1):
        seat = seats.get(slot)
        address, port = (seat.address, seat.port) if seat else (EMPTY, group["Port"])
        lines.append(f"    server s{slot} {address}:{port} track {checks(group)}/s{slot}{to_tls}")
    return lines


def _frontend(balancer: dict, listener: dict, rules: list[dict], groups: dict[str, dict]) -> list[str]:
    port, secure = listener["Port"], listener["Protocol"] in ("HTTPS", "TLS")
    mode = "http" if balancer["Type"] == "application" else "tcp"
    tls = f" ssl crt {paths.PKI / 'balancer.pem'}" if secure else ""
    lines = [f"frontend f{port}", f"    mode {mode}", f"    bind {balancer['Address']}:{port}{tls}"]
    if mode == "http":
        lines += [
            # A process that gives way to another closes a client's idle connection with its next answer, not under it.
            "    option idle-close-on-response",
            "    option forwardfor",
            f"    http-request set-header X-Forwarded-Proto {'https' if secure else 'http'}",
            f"    http-request set-header X-Forwarded-Port {port}",
        ]
    for rule in rules:
        tests = " ".join(_test(condition) for condition in rule["Conditions"])
        lines.append(f"    use_backend {_backend(rule['Actions'], groups)} if {tests}")
    return [*lines, f"    default_backend {_backend(listener['DefaultActions'], groups)}"]


def _backend(actions: list[dict], groups: dict[str, dict]) -> str:
    return f"t{groups[records.forwarded(actions)[0]]['Id']}"


def _test(condition: dict) -> str:
    """ "The rule's conditions are all met" if any value of each matches; hosts are compared without regard to case,
    paths with."""
    sample = "path -m reg" if condition["Field"] == "path-pattern" else "hdr(host),field(1,:) -m reg -i"
    return f"{{ {sample} {' '.join(quoted(expression(value)) for value in condition['Values'])} }}"


def expression(pattern: str) -> str:
    """The regular expression of a pattern in which * is any characters and ? is one."""
    wild = {"*": ".*", "?": "."}
    return "^" + "".join(wild.get(c) or (c if c.isalnum() else f"\\x{ord(c):02x}") for c in pattern) + "$"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
