"""What a start takes, and what each further worker process adds.

    python -m benchmarks.start_up [--workers 4] [--requests 2000] [--starts 5] [--json FILE]

`imports` is what a process spends on loading the application's modules, with the ten largest; `first answer`
the time from the start of the command to the first `/health`. The memory is taken after each worker has
answered: `master` and `worker` as Pss (shared pages counted by share), and `further` what the whole
process tree needs more with N workers than with one, divided by N-1: shared pages count once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.compare import KEY, SECRET, livekit, measure
from benchmarks.contestants import Deployment
from benchmarks.processes import pss_mib, running, tree
from tests.support.programs import free_port

_SHOWN = 10


def imports() -> tuple[float, list[tuple[str, float]]]:
    """Return the milliseconds that `import wsgi`'s modules take, and those of the slowest top packages."""
    command = [sys.executable, "-X", "importtime", "-c", "import webcall.app"]
    told = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60).stderr
    own: dict[str, float] = {}
    for line in told.splitlines():
        self_us, _, rest = line.removeprefix("import time:").partition("|")
        if self_us.strip().isdigit():
            package = rest.partition("|")[2].strip().partition(".")[0]
            own[package] = own.get(package, 0.0) + int(self_us) / 1000
    slowest = sorted(own.items(), key=lambda one: -one[1])[:_SHOWN]
    return sum(own.values()), slowest


def first_answer_s(environment: dict[str, str]) -> float:
    """Return the seconds from the command to the first connection that is taken."""
    port = free_port()
    began = time.monotonic()
    with running(
        [sys.executable, "-m", "gunicorn"], environment | {"WEBCALL_BIND": f"127.0.0.1:{port}"}, port
    ):
        return time.monotonic() - began


def memory(environment: dict[str, str], request: bytes, workers: int, requests: int) -> dict[str, float]:
    """Return the MiB of the whole tree, its master, and each worker, after `requests` to each."""
    port = free_port()
    settings = {"WEBCALL_BIND": f"127.0.0.1:{port}", "WEBCALL_WORKERS": str(workers)}
    with running([sys.executable, "-m", "gunicorn"], environment | settings, port) as pid:
        measure(port, pid, request, requests * workers, 16 * workers)
        master, *others = (pss_mib(one) for one in tree(pid))
        return {"tree": master + sum(others), "master": master, "worker": statistics.mean(others)}


def main() -> None:
    """Measure, print, and write."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--requests", type=int, default=2000)
    options.add_argument("--starts", type=int, default=5)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name:
        folder = Path(name)
        deployment = Deployment.write(folder)
        with livekit("stand-in", folder) as url:
            environment = deployment.environment(url, KEY, SECRET)
            starts = [first_answer_s(environment) for _ in range(given.starts)]
            one = memory(environment, deployment.request(), 1, given.requests)
            many = memory(environment, deployment.request(), given.workers, given.requests)
    whole, slowest = imports()
    further = (many["tree"] - one["tree"]) / (given.workers - 1)
    print(f"imports        {whole:.0f} ms: " + ", ".join(f"{what} {ms:.0f}" for what, ms in slowest))
    print(f"first answer   {statistics.median(starts):.2f} s ({min(starts):.2f}-{max(starts):.2f})")
    print(f"one worker     {one['tree']:.0f} MiB with its master ({one['master']:.0f})")
    print(f"{given.workers} workers      {many['tree']:.0f} MiB, {further:.1f} for each further one")
    if given.json:
        told = {
            "imports_ms": whole,
            "starts_s": starts,
            "one_mib": one,
            "many_mib": many,
            "workers": given.workers,
            "further_worker_mib": further,
        }
        given.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
