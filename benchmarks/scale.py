"""Whether a token costs the same with more of everything: records, connections, workers, metadata.

    python -m benchmarks.scale [--rounds 9] [--requests 1000] [--most 1000000] [--only TEXT] [--json FILE]

This service alone, with a stand-in for LiveKit that answers at once. Each row is set beside the one that it
grows from, as the ratio of the CPU seconds of the service's whole process tree in the same round; the rounds
are shuffled. CPU of the database is not counted there: a column of its own has it, with that of LiveKit's
stand-in. `--most` is how many keys and assistants MongoDB holds in the largest row: a million take two to
five minutes to put there. `--only` names rows by a part of their names; those that they are set beside are
measured too.

Of 256 connections 64 ask at the same time: more without a pause are an overload, which `benchmarks.overload`
measures. Rows that are "bound" keep whoever sends requests off the service's core: that one, and the
stand-ins of LiveKit and MongoDB, have the machine's last core, and the workers the first, or a core each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.compare import KEY, SECRET, Round, livekit, measure, spread
from benchmarks.contestants import Deployment
from benchmarks.many_records import in_files, in_mongo
from benchmarks.processes import bind, cpu_s, running, tree
from tests.support.mongo import MongoServer
from tests.support.programs import free_port

LARGE = {"customer": {"name": "Ada"}, "notes": [f"line {number:04d} " + "x" * 54 for number in range(235)]}
_IN_FILE = 100_000
_CONNECTIONS = 16
_MOST_AT_ONCE = 64

Settings = Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """A way to run and to ask the service, and the row that it is compared with."""

    name: str
    beside: str
    settings: Callable[[], Settings] = dict
    metadata: Mapping[str, object] | None = None
    connections: int = _CONNECTIONS
    bound: Literal["", "together", "each"] = ""


def rows(folder: Path, deployment: Deployment, server: MongoServer, most: int) -> list[Row]:
    """Return what is compared; a row's settings put its records in place."""
    base, bound, mongo = "file, 16 connections, one worker", "one worker, bound", "mongo, 10 records"

    def two() -> Settings:
        return {"WEBCALL_WORKERS": "2"}

    def filled(count: int) -> Callable[[], Settings]:
        return lambda: in_mongo(server, deployment, count)

    return [
        Row(base, base),
        Row("one connection", base, connections=1),
        Row("256 connections", base, connections=256),
        Row("16 KiB of metadata", base, metadata=LARGE),
        Row(f"file, {_IN_FILE:,} records", base, lambda: in_files(folder / "many", deployment, _IN_FILE)),
        Row("two workers", base, two),
        Row(bound, bound, bound="together"),
        Row("256 connections, bound", bound, connections=256, bound="together"),
        Row("two workers, bound to its core", bound, two, bound="together"),
        Row("two workers, bound to a core each", bound, two, bound="each"),
        Row(mongo, mongo, filled(10)),
        Row("mongo, 10,000 records", mongo, filled(10_000)),
        Row(f"mongo, {most:,} records", mongo, filled(most)),
    ]


def chosen(every: list[Row], only: str) -> list[Row]:
    """Return the rows whose names hold `only`, and those that they are set beside."""
    wanted = {name for row in every if only in row.name for name in (row.name, row.beside)}
    return [row for row in every if row.name in wanted]


class Places:
    """Which cores the service has, and which all others, for a row."""

    def __init__(self, others: list[int]) -> None:
        """Take the processes that are on the others' side; whoever sends requests is this one's child."""
        self._others = others
        self._cores = sorted(os.sched_getaffinity(0))

    def others_cpu_s(self) -> float:
        """Return the CPU seconds of the stand-ins so far."""
        return sum(map(cpu_s, self._others))

    def take(self, row: Row, pid: int) -> None:
        """Put everybody where the row wants them: the service's master is `pid`."""
        for other in (os.getpid(), *self._others):
            bind(other, {self._cores[-1]} if row.bound else set(self._cores))
        bind(pid, {self._cores[0]} if row.bound else set(self._cores))
        if row.bound == "each":
            for core, worker in zip(self._cores, tree(pid)[1:], strict=False):
                bind(worker, {core})


@dataclass(frozen=True)
class Started:
    """Rows with the port and the process of the service of each, and the cores."""

    rows: list[tuple[Row, int, int]]
    places: Places


@contextlib.contextmanager
def started(folder: Path, deployment: Deployment, most: int, only: str) -> Iterator[Started]:
    """Start everything, and give the rows with the port and the process of each."""
    with contextlib.ExitStack() as stack:
        environment = deployment.environment(stack.enter_context(livekit("stand-in", folder)), KEY, SECRET)
        server = MongoServer(folder)
        server.start()
        stack.callback(server.stop)
        places = Places(tree(os.getpid())[1:])
        services: dict[str, tuple[int, int]] = {}
        found: list[tuple[Row, int, int]] = []
        for row in chosen(rows(folder, deployment, server, most), only):
            began = time.monotonic()
            settings = row.settings()
            if (took := time.monotonic() - began) > 1:
                print(f"{row.name}: put there in {took:.0f} s", file=sys.stderr, flush=True)
            name = json.dumps(dict(settings), sort_keys=True)
            if name not in services:
                port = free_port()
                own = {**environment, **settings, "WEBCALL_BIND": f"127.0.0.1:{port}"}
                own["WEBCALL_BIND_CORES"] = "false"  # each row says which cores it has
                log = folder / f"service-{len(services)}.log"
                pid = stack.enter_context(running([sys.executable, "-m", "gunicorn"], own, port, log))
                services[name] = (port, pid)
            found.append((row, *services[name]))
        yield Started(found, places)


@dataclass(frozen=True)
class Taken:
    """What was measured of a row in a round; `others_cpu_s` is that of the stand-ins, for 1,000 requests."""

    service: Round
    others_cpu_s: float


def run(rounds: int, requests: int, most: int, only: str) -> tuple[list[Row], dict[str, list[Taken]]]:
    """Measure each row in each round, in another order each time."""
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name:
        folder = Path(name)
        deployment = Deployment.write(folder)
        with started(folder, deployment, most, only) as ready:
            found: dict[str, list[Taken]] = {row.name: [] for row, _, _ in ready.rows}
            for number in range(rounds + 1):
                for row, port, pid in random.sample(ready.rows, len(ready.rows)):
                    ready.places.take(row, pid)
                    # As many for each connection as with 16: fewer would measure how connections are made.
                    count = max(requests, requests * row.connections // _CONNECTIONS)
                    request, at_once = deployment.request(row.metadata), min(row.connections, _MOST_AT_ONCE)
                    before = ready.places.others_cpu_s()
                    service = measure(port, pid, request, count, row.connections, at_once)
                    others = (ready.places.others_cpu_s() - before) / count * 1000
                    # The first round warms up.
                    if number:
                        found[row.name].append(Taken(service, others))
            return [row for row, _, _ in ready.rows], found


def main() -> None:
    """Measure, print, and write."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument(
        "--requests", type=int, default=1000, help="per round and row, of more than 16 connections more"
    )
    options.add_argument("--most", type=int, default=1_000_000)
    options.add_argument("--only", default="", help="a part of the rows' names")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    compared, found = run(given.rounds, given.requests, given.most, given.only)
    written = {}
    print(f"{'':36}{'CPU s per 1000':>24}{'of the row beside':>24}{'p50 ms':>24}{'CPU s of stand-ins':>24}")
    for row in compared:
        taken, beside = found[row.name], found[row.beside]
        ratio = [
            ours.service.cpu_s_per_1000 / theirs.service.cpu_s_per_1000
            for ours, theirs in zip(taken, beside, strict=True)
        ]
        cells = (
            spread([one.service.cpu_s_per_1000 for one in taken]),
            spread(ratio),
            spread([one.service.p50_ms for one in taken]),
            spread([one.others_cpu_s for one in taken]),
        )
        print(f"{row.name:36}" + "".join(f"{cell:>24}" for cell in cells))
        written[row.name] = {"beside": row.beside, "ratio": statistics.median(ratio), "ratios": ratio}
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
