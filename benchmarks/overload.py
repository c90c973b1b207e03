"""The service under once and three times the load that it can serve, against a LiveKit server.

    python -m benchmarks.overload [--seconds 10] [--workers 1] [--rate CALLS_A_SECOND] [--livekit stand-in]
        [--worker-class CLASS]

What it can serve is measured first, with as many calls at once as keep it busy, unless `--rate` tells.
Then calls come at that rate, and at three times the rate, each over a connection of its own, whatever the
answers take. `--worker-class gthread` shows gunicorn's own worker instead of this service's. The load and
LiveKit run on the same machine: figures are to be compared with each other.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from benchmarks.compare import DELAYS_MS, KEY, REAL, SECRET, livekit, measure
from benchmarks.contestants import Deployment
from benchmarks.processes import cpu_s, running
from tests.support.load import Load, Sent, quantile
from tests.support.programs import free_port


class Watch:
    """Looks at the workers' memory and at /health until it is told to stop."""

    def __init__(self, port: int, pid: int) -> None:
        self._port, self._master = port, psutil.Process(pid)
        self.most_memory, self.health_s = 0.0, [0.0]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def memory_mb(self) -> float:
        """Return what the workers hold, in MB."""
        return sum(worker.memory_info().rss for worker in self._master.children()) / 1e6

    def _look(self) -> None:
        while not self._stop.wait(0.1):
            self.most_memory = max(self.most_memory, self.memory_mb())
            began = time.monotonic()
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
                connection.request("GET", "/health")
                connection.getresponse().read()
                connection.close()
            self.health_s.append(time.monotonic() - began)

    def end(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()


def show(name: str, sent: list[Sent], seconds: float, watch: Watch, cpu: float, before_mb: float) -> None:
    """Print what became of a load."""
    served, turned = ([one for one in sent if one.status == status] for status in (200, 503))
    in_time = sum(one.at_s + one.took_s < seconds for one in served)
    rest = len(sent) - len(served) - len(turned)
    print(f"{name}: {len(sent) / seconds:.0f} calls a second for {seconds:g} s")
    print(f"  served         {len(served)}, {in_time / seconds:.0f} a second while the load lasted")
    print(f"  turned away    {len(turned)}; neither {rest}")
    for what, which in (("200 after", served), ("503 after", turned)):
        took = [one.took_s for one in which]
        median, late = quantile(took, 0.5), quantile(took, 0.99)
        print(f"  {what}      {median * 1000:.0f} ms (median), {late * 1000:.0f} ms (99 of 100)")
    print(f"  /health within {max(watch.health_s) * 1000:.0f} ms")
    print(f"  memory         {before_mb:.0f} MB before, {watch.most_memory:.0f} MB at most, ", end="")
    print(f"{watch.memory_mb():.0f} MB after")
    print(f"  processor      {cpu:.1f} s")
    last = max(one.at_s + one.took_s for one in sent) - max(one.at_s for one in sent)
    print(f"  the last answer {last:.2f} s after the last call", flush=True)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--rate", type=float, default=0.0, help="calls a second that it can serve")
    options.add_argument("--livekit", default=REAL, choices=[REAL, *DELAYS_MS])
    options.add_argument("--worker-class", default="")
    given = options.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name, contextlib.ExitStack() as servers:
        folder = Path(name)
        deployment = Deployment.write(folder)
        url = servers.enter_context(livekit(given.livekit, folder))
        environment = deployment.environment(url, KEY, SECRET)
        environment |= {"WEBCALL_BIND": f"127.0.0.1:{port}", "WEBCALL_WORKERS": str(given.workers)}
        chosen = ["--worker-class", given.worker_class] if given.worker_class else []
        gunicorn = [sys.executable, "-m", "gunicorn", *chosen]
        pid = servers.enter_context(running(gunicorn, environment, port))
        rate = given.rate or measure(port, pid, deployment.request(), 1000, 16).per_second
        print(f"can be served: {rate:.0f} calls a second")
        for times in (1, 3):
            time.sleep(1)
            watch = Watch(port, pid)
            cpu, before_mb = cpu_s(pid), watch.memory_mb()
            sent = Load.begin(port, deployment.api_key, rate * times, given.seconds).wait()
            watch.end()
            show(f"{times}x", sent, given.seconds, watch, cpu_s(pid) - cpu, before_mb)


if __name__ == "__main__":
    main()
