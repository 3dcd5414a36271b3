"""One rolling update on the same engines under the same load, by Docker Swarm and by Evenkeel.

Run by benches/run, which has the proving ground up by then. Exits 0 only if Evenkeel lost no request, and took at most
LIMIT of the time that had to be waited for.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import time
import urllib.request
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import controller
import critical
import fleet
import ground
import load
import rollout
import screen
import swarm
import watch

BENCH = Path(os.environ["EVENKEEL_TESTBED"]) / "bench"
PROGRAM = BENCH / "bin/evenkeel"
IMAGE = "registry.example.com/shop/static"
RELEASES = ("1.0", "1.1")
LIMIT = 1.15

CONVERGED_WITHIN = 120  # seconds
SWAPPED_WITHIN = 200
LOAD_BEFORE, LOAD_AFTER = 4, 4
QUIET = ("rename", "create", "remove")
CONVERGED = "everything is as declared"


@dataclass(frozen=True)
class Round:
    """One update: the seconds it took, what each kind of clients counted, and for Evenkeel where the time went."""

    took: float
    counted: dict[str, dict]
    account: critical.Account | None = None

    def total(self, name: str) -> int:
        return sum(one[name] for one in self.counted.values())


def main() -> int:
    given = arguments()
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)
    BENCH.mkdir(parents=True, exist_ok=True)
    code = 1
    try:
        clear("what an earlier run left")
        code = 0 if given.clear else compare(given.rounds, given.only)
    except KeyboardInterrupt:
        screen.line()
        screen.line("Interrupted.")
        code = 130
    except Exception as error:  # noqa: BLE001 whatever it is, the fleet is cleared below
        screen.line()
        screen.line(f"The comparison failed: {error if isinstance(error, RuntimeError) else repr(error)}", "red")
        explain()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # not while the fleet is cleared
    clear("the engines and their balancer")
    return code


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/run swap", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=1, help="updates by each; the median ratio counts (default 1)")
    parser.add_argument("--only", choices=("swarm", "evenkeel"), help="one of the two, to try settings")
    parser.add_argument("--clear", action="store_true", help="only remove what an earlier run left")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds must be 1 or more")
    return given


def clear(whose: str) -> None:
    """Ends load, controller, engines and balancer of any run, interrupted or not."""
    began = time.monotonic()
    load.stop_leftovers(BENCH)
    controller.stop_leftover(BENCH)
    if fleet.clear():
        screen.line(f"  {whose + ', removed':<52}{time.monotonic() - began:6.1f} s")
    for leftover in ("state", "fleet-state", "manifests"):
        shutil.rmtree(BENCH / leftover, ignore_errors=True)


def compare(rounds: int, only: str | None) -> int:
    ground.ask("faults", method="DELETE")
    began = time.monotonic()
    engines = fleet.make(PROGRAM, BENCH)
    for engine in engines:
        for release in RELEASES:
            engine.do("pull", "--quiet", f"{IMAGE}:{release}")  # no update waits for a pull
    screen.line(f"  {len(engines)} engines behind a balancer, with both releases{time.monotonic() - began:11.1f} s")
    by_evenkeel = with_evenkeel(engines, rounds) if only != "swarm" else []
    for engine in engines:
        engine.empty()
    # Last, and the engines end after it: a swarm leaves networks and rules of iptables on an engine.
    by_swarm = with_swarm(engines, rounds) if only != "evenkeel" else []
    screen.title("Result" + (f", of {rounds} updates each" if rounds > 1 else ""))
    table(by_swarm, by_evenkeel)
    return verdict(by_evenkeel) if by_evenkeel else 0


def with_evenkeel(engines: list[fleet.Engine], rounds: int) -> list[Round]:
    screen.title("Evenkeel")
    manifests = BENCH / "manifests"
    manifests.mkdir()
    declare(manifests, RELEASES[0])
    (BENCH / "evenkeel.log").unlink(missing_ok=True)
    running = controller.Controller(PROGRAM, BENCH, str(manifests), {})
    follower = rollout.Follower(running.log, time.monotonic(), quiet=QUIET)
    converged(running, 0, CONVERGED_WITHIN, follower)
    serving(len(engines))
    done = []
    for number in range(rounds):
        old, new = RELEASES[number % 2], RELEASES[(number + 1) % 2]
        following = watch.Watch(fleet.balancer()["haproxy_socket"], engines)
        stress = Stress()
        stress.keep_up(LOAD_BEFORE, "before the change")
        mark, began = running.log.stat().st_size, time.time()
        follower.began = time.monotonic()
        declare(manifests, new)
        screen.line(f"  {0:6.1f} s  declared: {old} becomes {new}", "bold")
        ended = converged(running, mark, SWAPPED_WITHIN, follower, stress)
        stress.keep_up(LOAD_AFTER, "after it")
        counted = stress.stop()
        following.stop()
        must_answer(new)
        done.append(Round(ended - began, counted, critical.account(following, engines, began, ended)))
    controller.stop_leftover(BENCH)
    return done


def declare(directory: Path, release: str) -> None:
    """In one step, so that nobody reads half a file."""
    partial = directory.parent / "bench-swap.yaml.partial"
    partial.write_text(fleet.manifest(f"{IMAGE}:{release}"))
    partial.replace(directory / "bench-swap.yaml")


def converged(running, mark: int, within: float, follower, stress=None) -> float:
    """When the controller said so, by its own clock, after the mark in its log."""
    until = time.monotonic() + within
    while True:
        follower.look({})
        with running.log.open(errors="replace") as file:
            file.seek(mark)
            said = [line for line in file if CONVERGED in line and "revision" not in line]
        if said:
            return datetime.fromisoformat(said[-1].split()[0].replace("Z", "+00:00")).timestamp()
        if running.process.poll() is not None:
            raise RuntimeError(f"the controller ended with code {running.process.returncode}")
        if time.monotonic() > until:
            raise RuntimeError(f"not as declared within {within:.0f} s")
        if stress:
            stress.look()
        time.sleep(0.1)


def with_swarm(engines: list[fleet.Engine], rounds: int) -> list[Round]:
    screen.title("Docker Swarm")
    swarm.begin(engines, f"{IMAGE}:{RELEASES[0]}")
    done = []
    try:
        serving(len(engines))
        for number in range(rounds):
            old, new = RELEASES[number % 2], RELEASES[(number + 1) % 2]
            stress = Stress()
            stress.keep_up(LOAD_BEFORE, "before the update")
            began, before = time.monotonic(), {}
            screen.line(f"  {0:6.1f} s  docker service update: {old} becomes {new}", "bold")

            def look(tasks: dict[str, str]) -> None:
                for node, state in tasks.items():
                    if before and before.get(node) != state:
                        screen.line(f"  {time.monotonic() - began:6.1f} s  {node}: {state}")
                before.update(tasks)
                stress.look()

            took = swarm.update(engines, f"{IMAGE}:{new}", look)
            screen.line(f"  {took:6.1f} s  Swarm says that it is completed", "green")
            stress.keep_up(LOAD_AFTER, "after it")
            done.append(Round(took, stress.stop()))
            serving(len(engines))
            must_answer(new)
    finally:
        swarm.end(engines)
    return done


class Stress:
    """The load on the balancer, and a line at the bottom that tells of it."""

    def __init__(self):
        self.counter = ground.Balancer(fleet.balancer())
        self.load = load.Load(BENCH, address())

    def look(self, when: str = "") -> None:
        if dead := self.load.dead():
            raise RuntimeError(f"the load ended early; see {BENCH / dead}.log")
        screen.now(f"  {self.counter.requests():,} requests {when}")

    def keep_up(self, seconds: float, when: str) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.look(when)
            time.sleep(0.2)

    def stop(self) -> dict[str, dict]:
        return self.load.stop_each()


def address() -> str:
    return f"http://{fleet.balancer()['address']}/"


def serving(count: int) -> None:
    """Until the balancer has so many in service."""
    said = fleet.balancer()["haproxy_socket"]
    fleet.wait_for(
        f"{count} instances in service", lambda: list(watch.standings(said).values()).count("in") == count, CONVERGED_WITHIN
    )


def must_answer(release: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address(), timeout=5) as answer:
        found = json.load(answer)["version"]
    if found != release:
        raise RuntimeError(f"release {found} answers after the update to {release}")


def table(by_swarm: list[Round], by_evenkeel: list[Round]) -> None:
    both = (by_swarm, by_evenkeel)
    rows = [("", "Docker Swarm", "Evenkeel"), of("requests", both, lambda r: r.total("sent"), sum, ",")]
    rows.append(of("failed", both, lambda r: r.total("failed"), sum, ","))
    for kind, words in (("load-kept", "connections kept"), ("load-new", "a new one for each request")):
        for share in ("p50", "p99"):
            rows.append(of(f"{share} in ms, {words}", both, lambda r: r.counted[kind][share], statistics.median, ".1f"))
    rows.append(of("time of the update in s", both, lambda r: r.took, statistics.median, ".1f"))
    for name, *values in rows:
        screen.line(f"  {name:<40}" + "".join(f"{value:>16}" for value in values), None if name else "bold")


def of(name: str, both, value, joined, form: str) -> tuple[str, str, str]:
    return name, *(f"{joined([value(one) for one in rounds]):{form}}" if rounds else "-" for rounds in both)


def verdict(rounds: list[Round]) -> int:
    """Where Evenkeel's time went, and whether it is as it must be."""
    one = sorted(rounds, key=lambda r: r.account.ratio)[len(rounds) // 2]
    account = one.account
    screen.title(f"Evenkeel's {one.took:.1f} s, in seconds that balancer and engines took")
    screen.line("  " + " " * 12 + "".join(f"{step:>12}" for step in critical.STEPS))
    for hostname in sorted({span.hostname for span in account.spans}):
        times = "".join(f"{account.of(hostname, step):>12.2f}" for step in critical.STEPS)
        screen.line(f"  {hostname:<12}{times}")
    lost = sum(r.total("failed") for r in rounds)
    good = account.ratio <= LIMIT
    ratios = ", ".join(f"{r.account.ratio:.3f}" for r in rounds)
    screen.line()
    screen.table([
        ("unavoidable waits", f"{account.unavoidable:.2f} s", None),
        ("besides them, the controller took", f"{account.took - account.unavoidable:.2f} s", None),
        (f"the whole against the waits (at most {LIMIT})", ratios, good),
        ("requests lost by Evenkeel", f"{lost:,}", lost == 0),
    ])  # fmt: skip
    gaps = sorted(account.gaps, key=lambda gap: -gap.seconds)
    screen.line("  Where nothing had to be waited for" + (", the longest:" if good else ":"), None if good else "red")
    for gap in gaps[:5] if good else gaps:
        screen.line(f"    {gap.seconds:6.2f} s  {gap.between}")
    return 0 if good and not lost else 1


def explain() -> None:
    log = BENCH / "evenkeel.log"
    if log.exists():
        screen.line(f"The end of the controller's log, {os.path.relpath(log)}:", "bold")
        for text in log.read_text(errors="replace").splitlines()[-15:]:
            screen.line(f"  {text}")


if __name__ == "__main__":
    sys.exit(main())
