"""Where the time of a rollout went: what had to be waited for, and what the controller added.

What had to be waited for is what balancer and engines themselves took, in their own time: the balancer's drain from
being told to letting go; the engine's stop, create and start from the call to its event; the health from the start to
the engine's word; the balancer's checks until it has the instance in service again. The rest is the controller's.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from fleet import Engine
from watch import Watch

CALL = re.compile(
    r'^time="(\S+?)(?:\.(\d+))?Z" .*msg="Calling POST /v[\d.]+/containers/(?:[^/" ]+/)?(create|rename|start|stop)\b'
)
STEPS = ("drain", "stop", "rename", "create", "start", "healthy", "in service")


@dataclass(frozen=True)
class Span:
    """From and to are seconds since 1970."""

    hostname: str
    step: str
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True)
class Gap:
    """A time in which nothing had to be waited for: between what and what."""

    between: str
    seconds: float


@dataclass(frozen=True)
class Account:
    """`unavoidable` counts once what two instances waited for at the same time."""

    took: float
    unavoidable: float
    spans: list[Span]
    gaps: list[Gap]

    @property
    def ratio(self) -> float:
        return self.took / self.unavoidable if self.unavoidable else float("inf")

    def of(self, hostname: str, step: str) -> float:
        return sum(span.seconds for span in self.spans if (span.hostname, span.step) == (hostname, step))


def account(watch: Watch, engines: list[Engine], began: float, ended: float) -> Account:
    """Of a rollout from a commit to everything being as declared."""
    spans = [
        span
        for engine in engines
        for span in _of_balancer(engine.hostname, watch.standings[engine.hostname])
        + _of_engine(engine.hostname, _calls(engine, began), watch.events[engine.hostname])
        if began <= span.began and span.ended <= ended
    ]
    spans.sort(key=lambda span: span.began)
    unavoidable, gaps, reached, last = 0.0, [], began, "the commit"
    for span in spans:
        if span.began > reached:
            gaps.append(Gap(f"{last} → {span.hostname}: {span.step}", span.began - reached))
        if span.ended > reached:
            unavoidable += span.ended - max(span.began, reached)
            reached, last = span.ended, f"{span.hostname}: {span.step}"
    gaps.append(Gap(f"{last} → everything is as declared", ended - reached))
    return Account(ended - began, unavoidable, spans, gaps)


def _of_balancer(hostname: str, standings: list[tuple[float, str]]) -> list[Span]:
    spans, drained_from, asked = [], None, None
    for (_, before), (at, now) in zip(standings, standings[1:]):
        if now == "draining" and before in ("in", "entering"):
            drained_from = at
        elif now == "out":
            if drained_from:
                spans.append(Span(hostname, "drain", drained_from, at))
            drained_from = None
        elif now in ("entering", "draining") and before == "out":
            asked = at
        if now == "in":
            if asked:
                spans.append(Span(hostname, "in service", asked, at))
            drained_from, asked = None, None
    return spans


def _of_engine(hostname: str, calls: list[tuple[float, str]], events: list[tuple[float, str]]) -> list[Span]:
    spans = []
    for at, step in calls:
        if done := next((when for when, what in events if what == step and when >= at), None):
            spans.append(Span(hostname, step, at, done))
    for at, what in events:
        if what == "start":
            later = ((when, then) for when, then in events if when > at and then != "rename")
            if (found := next(later, None)) and found[1] == "health_status: healthy":
                spans.append(Span(hostname, "healthy", at, found[0]))
    return spans


def _calls(engine: Engine, since: float) -> list[tuple[float, str]]:
    """When the engine was asked for one of the steps."""
    found = (CALL.match(line) for line in engine.log.read_text(errors="replace").splitlines())
    calls = [(_second(call[1], call[2]), call[3]) for call in found if call]
    return [(at, step) for at, step in calls if at >= since]


def _second(whole: str, fraction: str | None) -> float:
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")
