"""Memory, descriptors and threads of the service's processes over time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soak.stage import Stage

# A process fills its pools and imports what it needs in its first requests: not counted as growth.
WARM_S = 30.0
# Less than this is not worth a judgement.
SHORTEST_LIFE_S = 120.0
MOST_GROWTH_MB, MOST_GROWTH_SHARE, MOST_DESCRIPTORS, MOST_THREADS = 24.0, 0.2, 24, 24
_MB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """One look at a process, `at_s` seconds from the beginning; memory in MB."""

    at_s: float
    rss: float
    pss: float
    descriptors: int
    threads: int


@dataclass
class Life:
    """A process by what it is, and its samples."""

    name: str
    pid: int
    samples: list[Sample] = field(default_factory=list)

    def settled(self) -> list[Sample]:
        """Return the samples after its first requests."""
        return [one for one in self.samples if one.at_s - self.samples[0].at_s >= WARM_S]

    def growth(self) -> dict[str, float] | None:
        """Return by how much each figure grew from the first quarter of its life to the last, by medians.

        None where it did not live long enough.
        """
        settled = self.settled()
        if len(settled) < 8 or settled[-1].at_s - settled[0].at_s < SHORTEST_LIFE_S:
            return None
        part = max(2, len(settled) // 4)
        return {
            name: round(_median(settled[-part:], name) - _median(settled[:part], name), 1)
            for name in ("rss", "pss", "descriptors", "threads")
        }

    def faults(self) -> list[str]:
        """Return what grew past its bound."""
        grown = self.growth()
        if grown is None:
            return []
        start = _median(self.settled()[:2], "rss")
        bounds = {
            "rss": max(MOST_GROWTH_MB, MOST_GROWTH_SHARE * start),
            "descriptors": MOST_DESCRIPTORS,
            "threads": MOST_THREADS,
        }
        told = f"{self.name} (pid {self.pid})"
        return [
            f"{told}: {name} grew by {grown[name]:g}, and {bound:g} is the bound"
            for name, bound in bounds.items()
            if grown[name] > bound
        ]

    def as_json(self) -> dict[str, Any]:
        """Return start, end, growth, and a median for each quarter of its life."""
        cut = max(1, len(self.samples) // 4)
        quarters = [self.samples[at : at + cut] for at in range(0, 4 * cut, cut)]
        return {
            "name": self.name,
            "pid": self.pid,
            "start": vars(self.samples[0]),
            "end": vars(self.samples[-1]),
            "growth": self.growth(),
            "rss_by_quarter": [_median(one, "rss") for one in quarters if one],
            "descriptors_by_quarter": [_median(one, "descriptors") for one in quarters if one],
        }


class Figures:
    """Looks at the processes when it is told to."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._began = time.monotonic()
        self.lives: dict[int, Life] = {}

    def look(self) -> None:
        """Take a sample of each process that is there."""
        for name, process in self._processes():
            try:
                sample = _sample(process, time.monotonic() - self._began)
            except (psutil.Error, OSError):
                continue  # it has just ended
            life = self.lives.setdefault(process.pid, Life(name, process.pid))
            life.samples.append(sample)

    def faults(self) -> list[str]:
        """Return what grew past its bound."""
        return [fault for life in self.lives.values() for fault in life.faults()]

    def _processes(self) -> Iterable[tuple[str, psutil.Process]]:
        stage = self._stage
        try:
            yield "gunicorn master", stage.master
            yield from (("gunicorn worker", one) for one in stage.gunicorn_workers())
            for name, own in (
                ("watcher", stage.watch),
                ("call worker", stage.worker.process if stage.worker else None),
            ):
                if own is not None and own.poll() is None:
                    yield name, psutil.Process(own.pid)
        except psutil.NoSuchProcess:
            return


def _sample(process: psutil.Process, at_s: float) -> Sample:
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    [pss_kb] = [line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")]
    return Sample(
        round(at_s, 1),
        round(process.memory_info().rss / _MB, 1),
        round(int(pss_kb) / 1024, 1),
        process.num_fds(),
        process.num_threads(),
    )


def _median(samples: list[Sample], name: str) -> float:
    return round(float(statistics.median(getattr(one, name) for one in samples)), 1)
