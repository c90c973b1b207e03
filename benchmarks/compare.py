"""What a token costs: this service beside what a user would write instead, in shuffled rounds of one run.

    python -m benchmarks.compare [--rounds 9] [--requests 2000] [--connections 16] [--workers 1]
                                 [--livekit stand-in|stand-in-5ms|stand-in-50ms|real] [--only service,fastapi]
                                 [--json FILE]

Absolute figures are those of this machine and of what else it does; the ratios, to the FastAPI peer and
to the floor in the same round, are what to read. CPU is that of a server's whole process tree.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.contestants import FASTAPI, FLOOR, Contestant, Deployment, contestants
from benchmarks.processes import cpu_s, private_mib, running, tree
from scripts import livekit_server
from tests.support.programs import free_port

KEY, SECRET = "APIbenchmark", "s" * 40
DELAYS_MS = {"stand-in": 0, "stand-in-5ms": 5, "stand-in-50ms": 50}
REAL = "real"
# A real LiveKit keeps the rooms, for which it works on; where it takes its time, a round lasts.
REQUESTS = {"stand-in": 2000, "stand-in-5ms": 2000, "stand-in-50ms": 600, REAL: 300}


@dataclass(frozen=True)
class Round:
    """What one round of requests to one server cost."""

    cpu_s_per_1000: float
    per_second: float
    p50_ms: float
    p99_ms: float
    worker_mib: float


def measure(
    port: int, pid: int, request: bytes, requests: int, connections: int, at_once: int | None = None
) -> Round:
    """Send `requests` over kept-alive connections, `at_once` at a time, from a process of their own."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(port)]
    command += ["--requests", str(requests), "--connections", str(connections)]
    command += ["--at-once", str(at_once or connections)]
    before = cpu_s(pid)
    done = subprocess.run(command, input=request, capture_output=True, check=True, timeout=300)
    cpu = cpu_s(pid) - before
    told = json.loads(done.stdout)
    good = sum(count for status, count in told["statuses"].items() if status in ("200", "201"))
    if good != requests:
        raise SystemExit(f"not every answer was a token: {told['statuses']}")
    took = sorted(told["took_ms"])
    return Round(
        cpu_s_per_1000=cpu / requests * 1000,
        per_second=requests / told["elapsed_s"],
        p50_ms=took[len(took) // 2],
        p99_ms=took[min(len(took) - 1, int(len(took) * 0.99))],
        # The last one that was started: the master of several shares less with nobody.
        worker_mib=private_mib(tree(pid)[-1]),
    )


@contextlib.contextmanager
def livekit(kind: str, folder: Path) -> Iterator[str]:
    """Run the LiveKit that is asked for, and give its address."""
    port = free_port()
    if kind == REAL:
        config = livekit_server.write_config(folder, port, KEY, SECRET, free_port(), log_level="error")
        command = [str(livekit_server.ensure()), "--config", str(config)]
    else:
        delay = str(DELAYS_MS[kind])
        command = [sys.executable, "-m", "benchmarks.stand_in", "--port", str(port), "--delay-ms", delay]
    with running(command, {}, port):
        yield f"http://127.0.0.1:{port}"


def run(
    kind: str, only: list[str], rounds: int, requests: int, connections: int, workers: int
) -> dict[str, list[Round]]:
    """Measure each of them in each round, in another order each time."""
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name, contextlib.ExitStack() as servers:
        folder = Path(name)
        deployment = Deployment.write(folder)
        url = servers.enter_context(livekit(kind, folder))
        environment = deployment.environment(url, KEY, SECRET)
        ports: dict[str, int] = {}
        everybody: list[Contestant] = contestants(_Ports(ports), workers)
        chosen = [one for one in everybody if not only or one.name in only]
        pids = {
            one.name: servers.enter_context(
                running(
                    one.command,
                    environment | dict(one.environment),
                    ports[one.name],
                    folder / f"{one.name}.log",
                )
            )
            for one in chosen
        }
        request = deployment.request()
        for name in pids:
            measure(ports[name], pids[name], request, max(200, connections), connections)
        found: dict[str, list[Round]] = {name: [] for name in pids}
        for _ in range(rounds):
            # Shuffled: what else the machine does hits nobody more than another.
            for name in random.sample(list(pids), len(pids)):
                found[name].append(measure(ports[name], pids[name], request, requests, connections))
        return found


class _Ports(dict[str, int]):
    """Gives each contestant a free port when it is asked for."""

    def __init__(self, known: dict[str, int]) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, name: str) -> int:
        return self._known.setdefault(name, free_port())


def ratios(found: dict[str, list[Round]], to: str) -> dict[str, dict[str, list[float]]]:
    """Return, for everybody and each figure, its ratio to `to` in each round."""
    if to not in found:
        return {}
    return {
        name: {
            figure: [
                getattr(ours, figure) / getattr(theirs, figure)
                for ours, theirs in zip(taken, found[to], strict=True)
            ]
            for figure in Round.__dataclass_fields__
        }
        for name, taken in found.items()
    }


def show(found: dict[str, list[Round]]) -> None:
    """Print medians with their spreads, then the ratios."""
    figures = list(Round.__dataclass_fields__)
    print(f"{'':15}" + "".join(f"{figure:>26}" for figure in figures))
    for name, taken in found.items():
        cells = (spread([getattr(one, figure) for one in taken]) for figure in figures)
        print(f"{name:15}" + "".join(f"{cell:>26}" for cell in cells))
    for to in (FASTAPI, FLOOR):
        for name, by_figure in ratios(found, to).items():
            if name != to:
                cells = (spread(by_figure[figure]) for figure in figures)
                print(f"{name + ' / ' + to:15}"[:24] + "".join(f"{cell:>26}" for cell in cells))


def spread(values: list[float]) -> str:
    """Return the median of values, with the least and the greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    """Measure, print, and write."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--requests", type=int, help="per round and server")
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--livekit", choices=[*DELAYS_MS, REAL], default="stand-in")
    options.add_argument("--only", default="", help="names, with commas")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    only = [name for name in given.only.split(",") if name]
    given.requests = given.requests or REQUESTS[given.livekit]
    found = run(given.livekit, only, given.rounds, given.requests, given.connections, given.workers)
    show(found)
    if given.json:
        told = {
            "machine": {
                "python": platform.python_version(),
                "cores": os.cpu_count(),
                "system": platform.system(),
            },
            "run": {name: str(value) for name, value in vars(given).items() if name != "json"},
            "rounds": {name: [asdict(one) for one in taken] for name, taken in found.items()},
        }
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
