"""What a run came to, as a page for people and as JSON."""

from __future__ import annotations

import os
import platform
from collections import Counter
from dataclasses import dataclass
from typing import Any

from benchmarks.soak.figures import Life
from benchmarks.soak.kinds import CALLS
from benchmarks.soak.oracle import Oracle

_SHOWN = 20


@dataclass(frozen=True)
class Verdict:
    """All that was found. `at_once`: edits that the very next request knew, and all of them."""

    plan: dict[str, float]
    oracle: Oracle
    lives: list[Life]
    people: dict[str, Any]
    rooms_checked: int
    rooms_left: int
    at_once: tuple[int, ...]
    webhooks: int
    own_cpu: float
    faults: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing was wrong."""
        return not (self.faults or self.oracle.wrong)

    def as_json(self) -> dict[str, Any]:
        """Return everything, for a file."""
        return {
            "passed": self.passed,
            "faults": self.faults,
            "plan": self.plan,
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            **self.oracle.as_json(),
            "latency_by_quarter": self.oracle.latency_by_quarter(CALLS, self.plan["whole_s"]),
            "people": self.people,
            "rooms_checked": self.rooms_checked,
            "rooms_left": self.rooms_left,
            "edits_known_at_once": list(self.at_once),
            "webhooks_taken": self.webhooks,
            "load_cpu_cores": self.own_cpu,
            "processes": [life.as_json() for life in self.lives],
        }

    def text(self) -> str:
        """Return the page."""
        oracle = self.oracle
        lines = [f"{'request':<26}{'answers'}"]
        lines += [f"{kind:<26}{_counts(counts)}" for kind, counts in oracle.by_kind().items()]
        lines += ["", f"{len(oracle.asked)} requests, {self.webhooks} webhooks taken, "]
        lines[-1] += f"{sum(oracle.excused.values())} errors in announced outages, {len(oracle.wrong)} wrong"
        if oracle.starved:
            late = len(oracle.found) - len(oracle.wrong)
            lines += [f"the machine had no time for it in {oracle.starved_s:.0f} s of the run: {late} late"]
        lines += [
            f"  {one.at_s:7.1f} s  {one.kind}: {one.what} ({one.after})" for one in oracle.wrong[:_SHOWN]
        ]
        done = Counter(what for _, what in oracle.disturbances)
        lines += ["", "done to it: " + ", ".join(f"{what} {count}x" for what, count in done.items())]
        lines += [f"edits of files known by the very next request: {self.at_once[0]} of {self.at_once[1]}"]
        lines += [f"calls looked into (room, one dispatch, token): {self.rooms_checked}"]
        lines += ["people: " + ", ".join(f"{name} {value}" for name, value in self.people.items())]
        lines += ["", f"{'calls by quarter':<20}{'count':>8}{'p50 ms':>9}{'p99 ms':>9}"]
        for number, of in enumerate(oracle.latency_by_quarter(CALLS, self.plan["whole_s"]), 1):
            lines += [f"{number:<20}{of['count']:>8}{of.get('p50_ms', 0):>9}{of.get('p99_ms', 0):>9}"]
        lines += [
            "",
            f"{'process':<18}{'pid':>8}{'lived s':>9}   RSS MB by quarter, descriptors by quarter, growth",
        ]
        lines += [_life(life) for life in self.lives if len(life.samples) > 3]
        lines += [
            "",
            f"rooms left over: {self.rooms_left}; the load itself used {self.own_cpu:.2f} of a core",
        ]
        lines += [f"fault: {fault}" for fault in self.faults]
        return "\n".join([*lines, "PASSED" if self.passed else "FAILED"])


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{outcome}: {count}" for outcome, count in sorted(counts.items()))


def _life(life: Life) -> str:
    told = life.as_json()
    lived = life.samples[-1].at_s - life.samples[0].at_s
    quarters = " ".join(f"{value:g}" for value in told["rss_by_quarter"])
    descriptors = " ".join(f"{value:g}" for value in told["descriptors_by_quarter"])
    growth = ", ".join(f"{name} {value:+g}" for name, value in (told["growth"] or {}).items())
    return f"{life.name:<18}{life.pid:>8}{lived:>9.0f}   {quarters} | {descriptors} | {growth}"
