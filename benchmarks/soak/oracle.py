"""What may be answered when: disturbances are announced here, and each answer is judged by them.

Outside of an outage there is one right answer to each request, or a few. An outage of something that the
request needs makes 500 and 503 right as well, and nothing else: never a 401 for a good key, never a 200
without a room.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from webcall.serving.worker import SILENCE_S

# After an outage's end, for what notices it by itself: a pool's dead connections, a new primary.
SETTLING_S = 1.0
# The service's own shortest patience is half a second, for Redis.
HEARTBEAT_S, STARVED_S = 0.1, 0.4
UNAVAILABLE = frozenset({500, 503})

Outcome = int | Literal["broken", "late"]
"""A status; or the connection broke without one, or none came in time."""


@dataclass
class Outage:
    """Something does not answer from `began` on, until `ended`, in seconds of the oracle's clock."""

    name: str
    began: float
    ended: float | None = None


@dataclass(frozen=True)
class Asked:
    """One request: what was right to answer, what it needs, and what came when."""

    kind: str
    right: frozenset[Outcome]
    needs: frozenset[str]
    sent: float
    done: float
    outcome: Outcome
    words: str = ""


@dataclass(frozen=True)
class Wrong:
    """Something that must not be, and when, in seconds from the beginning; and what was done before.

    With `since_s`, it is one that a machine without time for the service makes by itself: something late.
    """

    at_s: float
    kind: str
    what: str
    after: str
    since_s: float | None = None


@dataclass
class Oracle:
    """Judges answers, and keeps what it has seen."""

    clock: Callable[[], float] = time.monotonic
    outages: list[Outage] = field(default_factory=list)
    found: list[Wrong] = field(default_factory=list)
    starved: list[tuple[float, float]] = field(default_factory=list)
    excused: Counter[str] = field(default_factory=Counter)
    asked: list[tuple[str, Outcome, float, float]] = field(default_factory=list)
    disturbances: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def note(self, disturbance: str) -> None:
        """Remember what was done to the service, for whoever reads of what came after."""
        self.disturbances.append((self.clock() - self.began, disturbance))

    @contextmanager
    def outage(self, *names: str) -> Iterator[None]:
        """Announce that these are down while the block runs."""
        found = [Outage(name, self.clock()) for name in names]
        self.outages += found
        try:
            yield
        finally:
            for outage in found:
                outage.ended = self.clock()

    def down(self, names: Iterable[str], since: float, until: float, settling_s: float = SETTLING_S) -> bool:
        """Return whether one of these was down, or had just been, at any time between the two."""
        wanted = set(names)
        return any(
            one.name in wanted
            and one.began <= until
            and (one.ended is None or one.ended + settling_s >= since)
            for one in self.outages
        )

    def judge(self, asked: Asked) -> bool:
        """Keep an answer; return whether it was right, with no outage to excuse it."""
        self.asked.append((asked.kind, asked.outcome, asked.sent - self.began, asked.done - asked.sent))
        if asked.outcome in asked.right:
            return True
        if self._excuse(asked):
            self.excused[f"{asked.kind} {asked.outcome}"] += 1
        else:
            right = ", ".join(map(str, sorted(asked.right, key=str)))
            # The service lets go of who connects and then sends nothing for so long.
            silent = asked.outcome == "broken" and asked.done - asked.sent > SILENCE_S
            late = asked.outcome == "late" or asked.outcome in UNAVAILABLE or silent
            told = f"{asked.outcome} instead of {right} after {asked.done - asked.sent:.1f} s: {asked.words}"
            self.fault(asked.kind, told, asked.done, since=asked.sent if late else None)
        return False

    def _excuse(self, asked: Asked) -> bool:
        if asked.outcome in UNAVAILABLE:
            return self.down(asked.needs, asked.sent, asked.done)
        # A process that is killed takes the requests with it that it was answering, and no other.
        return asked.outcome == "broken" and self.down(["process"], asked.sent, asked.done, 0)

    def fault(self, kind: str, what: str, at: float | None = None, *, since: float | None = None) -> None:
        """Note something wrong, beside what was last done to the service.

        With `since`, it may be that the machine was too busy with other things from then on.
        """
        at_s = (self.clock() if at is None else at) - self.began
        last = next((f"{name}, {at_s - when:.1f} s before" for when, name in reversed(self.disturbances)), "")
        since_s = None if since is None else since - self.began
        self.found.append(Wrong(round(at_s, 1), kind, what, last, since_s))

    async def watch_the_machine(self, until: float) -> None:
        """Note when this process, as nice as the service, was not given the processor in time."""
        while (before := self.clock()) < until:
            await asyncio.sleep(HEARTBEAT_S)
            now = self.clock()
            if now - before > HEARTBEAT_S + STARVED_S:
                self.starved.append((before - self.began, now - self.began))

    @property
    def starved_s(self) -> float:
        """For how many seconds the machine had no time for the service."""
        return sum(ended - began for began, ended in self.starved)

    @property
    def wrong(self) -> list[Wrong]:
        """What was wrong, without what the machine did by having no time."""
        return [one for one in self.found if not self._starved(one)]

    def _starved(self, one: Wrong) -> bool:
        return one.since_s is not None and any(
            began - SETTLING_S <= one.at_s and ended + SETTLING_S >= one.since_s
            for began, ended in self.starved
        )

    def by_kind(self) -> dict[str, dict[str, int]]:
        """Return how many answers of which outcome each kind of request got."""
        found: dict[str, dict[str, int]] = {}
        for kind, outcome, _, _ in self.asked:
            counts = found.setdefault(kind, {})
            counts[str(outcome)] = counts.get(str(outcome), 0) + 1
        return dict(sorted(found.items()))

    def latency_by_quarter(self, kinds: Iterable[str], whole_s: float) -> list[dict[str, float]]:
        """Return count, p50 and p99 in milliseconds of good answers of these kinds, a dict a quarter."""
        wanted = set(kinds)
        quarters: list[list[float]] = [[], [], [], []]
        for kind, outcome, at_s, took_s in self.asked:
            if kind in wanted and outcome in (200, 201):
                quarters[min(3, int(4 * at_s / whole_s))].append(took_s * 1000)
        return [_summary(one) for one in quarters]

    def as_json(self) -> dict[str, Any]:
        """Return what was seen, for a file."""
        return {
            "requests": self.by_kind(),
            "excused": dict(sorted(self.excused.items())),
            "wrong": [asdict(one) for one in self.wrong],
            "starved_s": round(self.starved_s, 1),
            "starved": [[round(began, 1), round(ended, 1)] for began, ended in self.starved],
            "late_by_the_machine": len(self.found) - len(self.wrong),
            "disturbances": [{"at_s": round(at, 1), "what": what} for at, what in self.disturbances],
        }


def _summary(times_ms: list[float]) -> dict[str, float]:
    if len(times_ms) < 2:
        return {"count": len(times_ms)}
    cuts = statistics.quantiles(times_ms, n=100)
    return {"count": len(times_ms), "p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1)}
