"""Processes that a supervisor starts and that never outlive it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PATIENCE_S = 10.0


class Problem(Exception):
    """What keeps the supervisor from going on, in words for whoever started it."""


@dataclass(frozen=True)
class Child:
    """A running program and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise `Problem`, with the end of the log, if the program has ended."""
        if self.process.poll() is not None:
            raise Problem(
                f"{self.name} ended with status {self.process.returncode}. The end of {self.log}:\n"
                + self.last_lines()
            )

    def last_lines(self, count: int = 8) -> str:
        """Return the last lines of the log, indented."""
        lines = self.log.read_text("utf-8", "replace").splitlines()[-count:]
        return "\n".join("    " + line for line in lines)


def start(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Child:
    """Start a program in a process group of its own, its output in `log`.

    The log of the run before is kept beside it, with `.1` at its end.
    """
    if log.exists():
        log.replace(log.with_name(log.name + ".1"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C reaches the supervisor alone, which stops them in order.
            start_new_session=True,
            preexec_fn=_end_with_parent(),
        )
    return Child(name, process, log)


def output_of(command: Sequence[str], environment: Mapping[str, str], within_s: float) -> str:
    """Run a program to its end; return what it wrote, and that it was ended if it took longer."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=within_s,
            preexec_fn=_end_with_parent(),
        )
    except subprocess.TimeoutExpired as expired:
        return (expired.output or b"").decode("utf-8", "replace") + f"(ended after {within_s:g} s)"
    return done.stdout.decode("utf-8", "replace").rstrip("\n")


def stop(children: Sequence[Child]) -> None:
    """End the programs, the last one first, by force after ten seconds each."""
    for child in reversed(children):
        deadline = time.monotonic() + _PATIENCE_S
        # LiveKit waits for its rooms to empty after one SIGTERM, and ends at the second.
        while time.monotonic() < deadline and _signal(child, signal.SIGTERM):
            try:
                child.process.wait(3)
                break
            except subprocess.TimeoutExpired:
                continue
        # Whatever is left of the group.
        _signal(child, signal.SIGKILL)
        child.process.wait()


def _signal(child: Child, signum: signal.Signals) -> bool:
    try:
        os.killpg(child.process.pid, signum)
    except ProcessLookupError:
        return False
    return True


class _EndWithParent:
    """Ask the kernel, in the new process, for a SIGTERM when its parent dies (prctl(2))."""

    def __init__(self) -> None:
        self.parent = os.getpid()
        # Loaded before the fork: afterwards only system calls are safe.
        self.libc = ctypes.CDLL(None)

    def __call__(self) -> None:
        self.libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != self.parent:
            os._exit(1)


def _end_with_parent() -> _EndWithParent | None:
    return _EndWithParent() if sys.platform == "linux" else None
