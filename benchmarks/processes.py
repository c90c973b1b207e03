"""Servers that a benchmark starts, and what they cost, from /proc."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], port: int, log: Path | None = None
) -> Iterator[int]:
    """Run a server, wait until it listens on `port`, and give its process id; end it afterwards."""
    with log.open("ab") if log else open(os.devnull, "ab") as output:  # noqa: PTH123  # no path of ours
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
                break
            if process.poll() is not None or time.monotonic() > until:
                told = log.read_text("utf-8", "replace")[-2000:] if log else ""
                raise SystemExit(f"{' '.join(command)} does not start\n{told}")
            time.sleep(0.05)
        yield process.pid
    finally:
        # livekit-server waits for the rooms' people on the first SIGTERM.
        process.kill() if "livekit" in Path(command[0]).name else process.terminate()
        process.wait()


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return [pid]
    return [pid, *(one for child in children for one in tree(int(child)))]


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants so far."""
    return sum(_own_cpu_s(one) for one in tree(pid))


def _own_cpu_s(pid: int) -> float:
    # Nanoseconds, where /proc/PID/stat counts hundredths of a second. Threads that ended are left out.
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def wait_for_quiet(within_s: float = 15.0, busy: float = 0.1) -> None:
    """Wait until the machine does next to nothing, or for so long: what was measured last may still end.

    `busy` is the share of all cores that others may use for half a second.
    """
    until = time.monotonic() + within_s
    while time.monotonic() < until and psutil.cpu_percent(0.5) > busy * 100:
        pass


def bind(pid: int, cores: Collection[int]) -> None:
    """Let the threads of a process and of its descendants, and those that they start, run on these cores."""
    for one in tree(pid):
        for task in Path(f"/proc/{one}/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(task.name), cores)


def private_mib(pid: int) -> float:
    """Return the memory that only this process has, in MiB: what one more like it costs."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
    return kib / 1024


def pss_mib(pid: int) -> float:
    """Return a process's memory in MiB, with its share of what it shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
