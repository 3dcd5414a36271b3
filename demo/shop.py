"""The demo: a shop is declared, converges on two instances, and gets a new release of its app under load.

Run by demo/run, which has the proving ground up by then. Exits 0 only if not one request failed, and everything
else of the table is as it must be.
"""

import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import controller
import fleet
import load
import rollout
import screen

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "deploy/examples/shop.yaml"
STATE = Path(os.environ["EVENKEEL_TESTBED"])
DEMO = STATE / "demo"
PROGRAM = DEMO / "bin/evenkeel"
UNATTENDED = os.environ.get("CI") == "true"

STACK = BALANCER = "shop"
OLD, NEW = "shop/app:1.0", "shop/app:1.1"

CONVERGED_WITHIN = 300  # seconds, instances included
SWAPPED_WITHIN = 200
LOOKED_WITHIN = 60
LOAD_BEFORE, LOAD_AFTER = 4, 4
REQUESTS_AT_LEAST = 20_000
MEMORY_BELOW = 60  # MB


class Failed(Exception):
    """Something the demo waited for did not come; says what and for how long."""


def main() -> int:
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)
    if "--clear" in sys.argv:
        clear("the demo's fleet")
        return 0
    running = None
    try:
        clear("the fleet of an earlier run")
        running = Demo()
        return running.play()
    except KeyboardInterrupt:
        screen.line()
        screen.line("Interrupted: the load and the controller are ended, the fleet is left as it is.")
        screen.line("  make demo    starts over        make down    ends the fleet too")
        if running:
            running.end()
        return 130
    except Exception as error:
        screen.line()
        screen.line(f"The demo failed: {error}" if isinstance(error, Failed) else f"The demo failed: {error!r}", "red")
        if running:
            running.explain()
            running.end()
        return 1


def clear(whose: str) -> None:
    """Ends whatever is left of a run, interrupted or not: its load, its controller, its fleet."""
    load.stop_leftovers(DEMO)
    controller.stop_leftover(DEMO)
    began = time.monotonic()
    if fleet.clear(STACK, BALANCER):
        screen.line(f"  {whose + ', removed':<52}{time.monotonic() - began:6.1f} s")
    for leftover in ("state", "stacks"):
        shutil.rmtree(DEMO / leftover, ignore_errors=True)
    (DEMO / "evenkeel.log").unlink(missing_ok=True)


class Demo:
    def __init__(self):
        DEMO.mkdir(parents=True, exist_ok=True)
        self.url = f"http://{fleet.create_balancer(BALANCER)}/"
        self.repository = controller.Repository(DEMO / "stacks", EXAMPLE)
        self.load = None
        self.controller = None
        self.ears = None

    def play(self) -> int:
        converged_in = self.converge()
        before = self.answer()
        swap, sent, after = self.swap()
        mutations = self.following_pass()
        memory = self.controller.peak_memory()
        took = time.time() - float(os.environ.get("EVENKEEL_DEMO_BEGAN", time.time()))
        good = [
            ("requests sent, through the whole swap", f"{sent['sent']:,}", sent["sent"] >= REQUESTS_AT_LEAST),
            ("failed", f"{sent['failed']:,}", sent["failed"] == 0),
            ("slowest", f"{sent['slowest']:,.0f} ms", None),
            ("99 of 100 were faster than", f"{sent['p99']:,.0f} ms", None),
            ("first convergence, instances included", f"{converged_in:.1f} s", None),
            ("the swap, from the commit to converged", f"{swap:.1f} s", None),
            ("release that answers, before and after", f"{before}, {after}", (before, after) == ("1.0", "1.1")),
            ("mutations of the following pass", str(len(mutations)), not mutations),
            ("peak memory of the controller", f"{memory:.1f} MB", memory < MEMORY_BELOW),
            ("the whole demo", f"{took:.0f} s", None),
        ]
        screen.title("Result")
        screen.table(good)
        if sent["failed"]:
            kinds = ("status", "connect", "read", "write", "timeout")
            screen.line("  failed: " + ", ".join(f"{sent[kind]} {kind}" for kind in kinds if sent[kind]), "red")
        for mutation in mutations:
            screen.line(f"  mutated after convergence: {mutation}", "red")
        passed = all(ok is not False for _, _, ok in good)
        if not passed:
            self.explain()
        if UNATTENDED:
            self.end()
        else:
            self.invite()
        return 0 if passed else 1

    def converge(self) -> float:
        revision = self.repository.revision()
        screen.title(f"Converging: {EXAMPLE.relative_to(ROOT)}, committed as {revision}, on an empty account")
        began = time.monotonic()
        self.controller = controller.Controller(PROGRAM, DEMO, self.repository.url)
        follower = rollout.Follower(self.controller.log, began, quiet=(": create ",))
        self.wait_converged(revision, CONVERGED_WITHIN, follower)
        took = time.monotonic() - began
        screen.line(f"  {took:6.1f} s  everything is as declared", "green")
        return took

    def swap(self) -> tuple[float, dict, str]:
        screen.title(f"Swapping {OLD} for {NEW}, while requests come through the load balancer at {self.url}")
        counter = fleet.Balancer(BALANCER)
        self.load = load.Load(DEMO, self.url)
        self.keep_up(LOAD_BEFORE, counter, "before the commit")
        began = time.monotonic()
        follower = rollout.Follower(self.controller.log, began, quiet=("rename",))
        self.repository.change(OLD, NEW)
        revision = self.repository.commit(f"The app: {NEW}")
        screen.line(f"  {0:6.1f} s  committed {revision}: {OLD} becomes {NEW}", "bold")
        self.wait_converged(revision, SWAPPED_WITHIN, follower, counter)
        took = time.monotonic() - began
        screen.line(f"  {took:6.1f} s  everything is as declared", "green")
        self.ears = fleet.Ears(STACK)
        after = self.answer()
        self.keep_up(LOAD_AFTER, counter, "after the swap")
        while counter.requests() < REQUESTS_AT_LEAST * 1.05 and time.monotonic() - began < load.LONGEST - 30:
            self.keep_up(1, counter, "a few more")
        sent, self.load = self.load.stop(), None
        return took, sent, after

    def following_pass(self) -> list[str]:
        """What AWS and the engines were asked to change since the swap was over, in at least one whole pass."""
        until = time.monotonic() + LOOKED_WITHIN
        while time.monotonic() < until:
            seen, status = self.ears.whole_look_at(), self.controller.status(STACK)
            if seen and status.get("at") and at(status) > seen:
                time.sleep(0.5)  # what that pass has begun is on record by then
                return self.ears.mutations()
            screen.now(f"  waiting for the following pass (every {controller.RESYNC} s)")
            time.sleep(0.3)
        raise Failed(f"no whole pass followed within {LOOKED_WITHIN} s of the swap")

    def wait_converged(self, revision: str, within: float, follower, counter=None) -> None:
        until = time.monotonic() + within
        deadline = time.strftime("%H:%M:%S", time.gmtime(time.time() + within))
        while True:
            status = self.controller.status(STACK)
            follower.look(status)
            if status.get("revision") == revision and status["phase"] == "Converged":
                return
            if (code := self.controller.process.poll()) is not None:
                raise Failed(f"the controller ended with code {code}")
            if self.load and (dead := self.load.dead()):
                raise Failed(f"the load ended early; see {DEMO / dead}.log")
            if time.monotonic() > until:
                raise Failed(f"not as declared in revision {revision} within {within:.0f} s; {rollout.outlook(status)}")
            requests = f"{counter.requests():,} requests · " if counter else ""
            screen.now(f"  {requests}gives up at {deadline} · {rollout.outlook(status)}")
            time.sleep(0.2)

    def keep_up(self, seconds: float, counter, when: str) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            screen.now(f"  {counter.requests():,} requests, {when}")
            time.sleep(0.2)

    def answer(self) -> str:
        """The release that answers a request."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url, timeout=5) as answer:
            return json.load(answer)["version"]

    def explain(self) -> None:
        if self.controller and self.controller.log.exists():
            screen.line(f"The end of the controller's log, {shown(self.controller.log)}:", "bold")
            for text in self.controller.log.read_text(errors="replace").splitlines()[-15:]:
                screen.line(f"  {text}")

    def invite(self) -> None:
        env = DEMO / "env"
        env.write_text(
            f". '{STATE / 'env'}'\nexport EVENKEEL_STATE='{DEMO / 'state'}'\nexport PATH='{PROGRAM.parent}':\"$PATH\"\n"
        )
        stacks = shown(self.repository.path)
        screen.title("The fleet and its controller go on. Look around:")
        screen.line(f"  . {shown(env)}")
        screen.line("  evenkeel status                     how the stack is (--watch: all the time)")
        screen.line(f"  evenkeel plan {stacks:<22}what would be done now: nothing")
        screen.line(f"  curl {self.url:<31}a request through the load balancer")
        screen.line(f"  tail -f {shown(self.controller.log)}")
        screen.line(f"Change {stacks}/{EXAMPLE.name}, commit it, and it is rolled out. `make down` ends everything.")

    def end(self) -> None:
        load.stop_leftovers(DEMO)
        controller.stop_leftover(DEMO)


def at(status: dict) -> float:
    """When a status was written, in seconds since 1970."""
    # Nanoseconds are more than Python reads.
    text = status["at"].rstrip("Z")
    return datetime.fromisoformat(text[:26] + "+00:00").timestamp()


def shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
