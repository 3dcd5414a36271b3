"""The demo: a shop is declared, converges on two instances, and gets a new release of its app under load; on EC2 its
instances are replaced under load as well.

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
import ec2
import ground
import load
import opsworks
import rollout
import screen

ROOT = Path(__file__).resolve().parent.parent
STATE = Path(os.environ["EVENKEEL_TESTBED"])
DEMO = STATE / "demo"
PROGRAM = DEMO / "bin/evenkeel"
UNATTENDED = os.environ.get("CI") == "true"

PROVIDERS = {"opsworks": opsworks, "ec2": ec2}
STACK = "shop"
OLD, NEW = "shop/app:1.0", "shop/app:1.1"

CONVERGED_WITHIN = 300  # seconds, instances included
SWAPPED_WITHIN = 200
REFRESHED_WITHIN = 400
LOOKED_WITHIN = 60
LOAD_BEFORE, LOAD_AFTER = 4, 4
REQUESTS_AT_LEAST = 20_000


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
        running = Demo(PROVIDERS[sys.argv[1] if len(sys.argv) > 1 else "opsworks"])
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
    ground.ask("faults", method="DELETE")
    if any([provider.clear() for provider in PROVIDERS.values()]):
        screen.line(f"  {whose + ', removed':<52}{time.monotonic() - began:6.1f} s")
    for leftover in ("state", "stacks", "certificates"):
        shutil.rmtree(DEMO / leftover, ignore_errors=True)
    (DEMO / "evenkeel.log").unlink(missing_ok=True)


class Demo:
    def __init__(self, provider):
        DEMO.mkdir(parents=True, exist_ok=True)
        self.provider = provider
        self.more = provider.prepare(PROGRAM, DEMO)
        # AWS checks every five seconds at most; here every second, so that nobody waits for the clock.
        ground.ask("config", {"health_interval_override": 1})
        self.url = f"http://{provider.balancer()['address']}/"
        self.repository = controller.Repository(DEMO / "stacks", provider.manifest())
        self.load = None
        self.controller = None
        self.ears = None

    def play(self) -> int:
        converged_in = self.converge()
        before = self.answer()
        swap, sent, after = self.swap()
        refreshed = self.refresh() if self.provider.REFRESH else None
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
            *self.of_refresh(refreshed),
            ("mutations of the following pass", str(len(mutations)), not mutations),
            ("peak memory of the controller", f"{memory:.1f} MB", memory < self.provider.MEMORY_BELOW),
            ("the whole demo", f"{took:.0f} s", None),
        ]
        screen.title("Result")
        screen.table(good)
        for counted in (sent, *([refreshed[1]] if refreshed else [])):
            if counted["failed"]:
                why = ", ".join(f"{counted[kind]} {kind}" for kind in load.FAILURES if counted[kind])
                screen.line(f"  failed: {why}", "red")
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
        names = " and ".join(str(file.relative_to(ROOT)) for file in self.provider.FILES)
        screen.title(f"Converging: {names}, committed as {revision}, on an empty account")
        began = time.monotonic()
        self.controller = controller.Controller(PROGRAM, DEMO, self.repository.url, self.more)
        follower = rollout.Follower(self.controller.log, began, quiet=(": create ",))
        self.wait_converged(revision, CONVERGED_WITHIN, follower)
        took = time.monotonic() - began
        screen.line(f"  {took:6.1f} s  everything is as declared", "green")
        return took

    def swap(self) -> tuple[float, dict, str]:
        screen.title(f"Swapping {OLD} for {NEW}, while requests come through the load balancer at {self.url}")
        took, counter, after = self.under_load(OLD, NEW, "The app", SWAPPED_WITHIN, quiet=("rename",))
        began = time.monotonic()
        while counter.requests() < REQUESTS_AT_LEAST * 1.05 and time.monotonic() - began < load.LONGEST - 30:
            self.keep_up(1, counter, "a few more")
        sent, self.load = self.load.stop(), None
        return took, sent, after

    def refresh(self) -> tuple[float, dict, bool]:
        """New instances in the place of the old ones; the time, what the load counted, and whether all are new."""
        old, new = self.provider.REFRESH
        screen.title(f"Replacing the instances ({old} becomes {new}), while requests go on")
        before = {i["ec2_instance_id"] for i in self.provider.instances()}
        took, _, _ = self.under_load(old, new, "Other instances", REFRESHED_WITHIN, quiet=("create", "start", "mark"))
        sent, self.load = self.load.stop(), None
        after = {i["ec2_instance_id"] for i in self.provider.instances() if i["status"] == "running"}
        return took, sent, len(after) == len(before) and not after & before

    @staticmethod
    def of_refresh(refreshed) -> list[tuple]:
        if refreshed is None:
            return []
        took, sent, all_new = refreshed
        return [
            ("requests sent while the instances were replaced", f"{sent['sent']:,}", sent["sent"] >= REQUESTS_AT_LEAST),
            ("failed of those", f"{sent['failed']:,}", sent["failed"] == 0),
            ("every instance is a new one", "yes" if all_new else "no", all_new),
            ("from the commit to all replaced", f"{took:.1f} s", None),
        ]

    def under_load(self, old: str, new: str, what: str, within: float, quiet: tuple[str, ...]) -> tuple:
        """Commits a change under load; the seconds until it converged, the counter, and the release that answers. The
        load goes on."""
        counter = ground.Balancer(self.provider.balancer())
        self.load = load.Load(DEMO, self.url)
        self.keep_up(LOAD_BEFORE, counter, "before the commit")
        began = time.monotonic()
        follower = rollout.Follower(self.controller.log, began, quiet=quiet)
        self.repository.change(old, new)
        revision = self.repository.commit(f"{what}: {new}")
        screen.line(f"  {0:6.1f} s  committed {revision}: {old} becomes {new}", "bold")
        self.wait_converged(revision, within, follower, counter)
        took = time.monotonic() - began
        screen.line(f"  {took:6.1f} s  everything is as declared", "green")
        self.ears = ground.Ears(self.provider)
        after = self.answer()
        self.keep_up(LOAD_AFTER, counter, "after it")
        return took, counter, after

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
            + "".join(f"export {name}='{value}'\n" for name, value in self.more.items())
        )
        stacks = shown(self.repository.path)
        screen.title("The fleet and its controller go on. Look around:")
        screen.line(f"  . {shown(env)}")
        screen.line("  evenkeel status                     how the stack is (--watch: all the time)")
        screen.line(f"  evenkeel plan {stacks:<22}what would be done now: nothing")
        screen.line(f"  curl {self.url:<31}a request through the load balancer")
        screen.line(f"  tail -f {shown(self.controller.log)}")
        screen.line(f"Change {stacks}/{self.repository.file.name}, commit it, and it is rolled out. `make down` ends everything.")

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
