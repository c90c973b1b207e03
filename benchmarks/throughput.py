"""Requests per second and CPU per token of one gunicorn worker, against a real LiveKit server.

    python -m benchmarks.throughput [--rounds 5] [--requests 2000] [--connections 16]

The service and `benchmarks.peer` are measured in turn, in the same run, and compared as ratios: the
absolute figures are those of the machine and of what else it does. CPU is that of the gunicorn
processes alone, from /proc.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts import livekit_server
from tests.support.programs import free_port
from webcall.records import hash_api_key, new_api_key

ROOT = Path(__file__).resolve().parent.parent
BODY = json.dumps({"assistant_id": "helper", "metadata": {"customer": {"name": "Ada"}, "plan": "gold"}})
ASSISTANT = {
    "assistant_id": "helper",
    "assistant_created_by_email": "ada@example.com",
    "assistant_prompt": "You talk with {{customer.name}}. " + "Be kind, and brief. " * 50,
}


@dataclass(frozen=True)
class Round:
    """What one round of requests to one server cost."""

    per_second: float
    cpu_s_per_1000: float
    p50_ms: float
    p99_ms: float


@contextlib.contextmanager
def running(command: list[str], environment: Mapping[str, str], port: int) -> Iterator[int]:
    """Run a server, wait until it listens, and give its process id."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/")
                connection.getresponse().read()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{' '.join(command)} does not start")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.kill() if Path(command[0]).name.startswith("livekit") else process.terminate()
        process.wait()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its children so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu_s(int(child)) for child in children)


def measure(port: int, api_key: str, pid: int, requests: int, connections: int) -> Round:
    """Send `requests` over kept-alive `connections`, each one after the other's answer."""
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    took: list[float] = []
    bad: list[int] = []

    def talk(count: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(count):
            began = time.perf_counter()
            connection.request("POST", "/web_call/get_token", BODY, headers)
            answer = connection.getresponse()
            answer.read()
            took.append(time.perf_counter() - began)
            if answer.status != 200:
                bad.append(answer.status)
        connection.close()

    threads = [threading.Thread(target=talk, args=(requests // connections,)) for _ in range(connections)]
    cpu_before, began = cpu_s(pid), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed, cpu = time.perf_counter() - began, cpu_s(pid) - cpu_before
    if bad:
        raise SystemExit(f"{len(bad)} of {len(took)} answers were not 200, such as {bad[0]}")
    took.sort()
    return Round(
        per_second=len(took) / elapsed,
        cpu_s_per_1000=cpu / len(took) * 1000,
        p50_ms=took[len(took) // 2] * 1000,
        p99_ms=took[int(len(took) * 0.99)] * 1000,
    )


def show(name: str, rounds: list[Round]) -> None:
    """Print the median, lowest and highest of each figure."""
    print(name)
    for field in Round.__dataclass_fields__:
        values = [getattr(one, field) for one in rounds]
        print(f"  {field:15} {statistics.median(values):9.2f}   ({min(values):.2f} to {max(values):.2f})")


def main() -> None:
    """Measure both in turn, and print figures and ratios."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--requests", type=int, default=2000, help="per round and server")
    options.add_argument("--connections", type=int, default=16)
    given = options.parse_args()
    api_key = new_api_key()
    key, secret = "APIbenchmark", "s" * 40
    livekit_port, udp_port, service_port, peer_port = (free_port() for _ in range(4))
    results: dict[str, list[Round]] = {"service": [], "peer": []}
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name, contextlib.ExitStack() as servers:
        folder = Path(name)
        config = livekit_server.write_config(folder, livekit_port, key, secret, udp_port)
        program = [str(livekit_server.ensure()), "--config", str(config)]
        servers.enter_context(running(program, {}, livekit_port))
        record = {"api_key_hash": hash_api_key(api_key), "user_email": "ada@example.com"}
        (folder / "keys.json").write_text(json.dumps([record]))
        (folder / "assistants.json").write_text(json.dumps([ASSISTANT]))
        environment = {
            "LIVEKIT_URL": f"http://127.0.0.1:{livekit_port}",
            "LIVEKIT_API_KEY": key,
            "LIVEKIT_API_SECRET": secret,
            # One key places them all, far faster than a key may.
            "WEBCALL_LIMIT_PER_KEY": "off",
            "WEBCALL_VALIDATORS": "file",
            "WEBCALL_STORES": "file",
            "WEBCALL_API_KEYS_FILE": str(folder / "keys.json"),
            "WEBCALL_ASSISTANTS_FILE": str(folder / "assistants.json"),
            "BENCHMARK_API_KEY": api_key,
        }
        gunicorn = [sys.executable, "-m", "gunicorn"]
        plain = ["--config", os.devnull, "--worker-class", "gthread", "--threads", "64", "--workers", "1"]
        bind = environment | {"WEBCALL_BIND": f"127.0.0.1:{service_port}"}
        peer = [*gunicorn, *plain, "--bind", f"127.0.0.1:{peer_port}", "benchmarks.peer:app"]
        pids = {
            "service": (servers.enter_context(running(gunicorn, bind, service_port)), service_port),
            "peer": (servers.enter_context(running(peer, environment, peer_port)), peer_port),
        }
        for pid, port in pids.values():
            measure(port, api_key, pid, 200, given.connections)
        for number in range(given.rounds):
            for which in ("service", "peer") if number % 2 else ("peer", "service"):
                pid, port = pids[which]
                results[which].append(measure(port, api_key, pid, given.requests, given.connections))
    for which, rounds in results.items():
        show(which, rounds)
    print("service against peer, median of the rounds' ratios")
    for field in Round.__dataclass_fields__:
        pairs = zip(results["service"], results["peer"], strict=True)
        ratios = [getattr(ours, field) / getattr(theirs, field) for ours, theirs in pairs]
        print(f"  {field:15} {statistics.median(ratios):9.2f}   ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
