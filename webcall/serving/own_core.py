"""One core for each worker.

The threads of a worker hand the interpreter's lock to each other several times in a request. Where they run
on two cores, that wakes the other core each time: bound to one, a worker needs half the CPU
(benchmarks/PROFILE.md). It takes

- a core that no other worker of this machine has. Who binds the abstract Unix socket of a core has it; the
  kernel frees it when the process ends, however that ends. In containers with networks of their own the
  sockets do not see each other, and so
- it lets a core go that others keep busy, if another one is idler, and takes one again later.

Who has found none free runs on all of them, and looks again: after a reload the old workers' become free.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from webcall import affinity

log = structlog.stdlib.get_logger("webcall.serving")

LOOK_S = 5.0
# Between looks for a free core; and after one was let go, so that two do not come back at once.
AGAIN_S, PAUSE_S = 10.0, (30.0, 90.0)
# Others' share of a core from which on it is let go, if another core is idler by at least the margin.
TOO_MUCH, MARGIN = 0.4, 0.2

_STAT = Path("/proc/stat")
_TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What had been used at a time: of each core since the machine's start, and by this process."""

    at: float
    busy_s: Mapping[int, float]
    own_s: float


def busy_seconds(stat: str) -> dict[int, float]:
    """Return for how long each core has been busy, by the text of /proc/stat (proc(5))."""
    found = {}
    for name, *times in map(str.split, stat.splitlines()):
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _waiting, *interrupts = map(int, times[:8])
            # With the eighth, time that a virtual machine's core was another one's.
            found[int(name[3:])] = (user + nice + system + sum(interrupts)) / _TICKS_S
    return found


def shares(before: Usage, now: Usage) -> dict[int, float]:
    """Return for which part of the time between the two each core was busy."""
    return {
        core: (busy_s - before.busy_s[core]) / (now.at - before.at)
        for core, busy_s in now.busy_s.items()
        if core in before.busy_s
    }


def is_crowded(core: int, usable: Mapping[int, float], own: float) -> bool:
    """Return whether it is better to leave a core.

    `usable` are the shares of the cores that may be used, `own` is this process's own part of its core.
    """
    if core not in usable:
        return False
    idlest = min(usable.values())
    return usable[core] - own > TOO_MUCH and usable[core] - idlest > MARGIN


class OwnCore:
    """The core that a worker has taken, or None. Belongs to one thread, which calls `look` now and then."""

    def __init__(self, wanted: bool) -> None:
        """Take nothing yet; nor ever if not `wanted`, or where there is nothing to choose."""
        self.core: int | None = None
        self._usable = sorted(affinity.usable()) if wanted else []
        self._name = os.environ.get("WEBCALL_CORE_SOCKETS", "webcall-core")  # tests have their own
        self._socket: socket.socket | None = None
        self._usage: Usage | None = None
        self._next_look = self._next_try = 0.0

    def look(self, now: float) -> None:
        """Take a core, or let it go, if it is time for that."""
        if now < self._next_look or len(self._usable) < 2:
            return
        self._next_look = now + LOOK_S
        try:
            before, self._usage = self._usage, _usage()
            past = shares(before, self._usage) if before else {}
            own = (self._usage.own_s - before.own_s) / (self._usage.at - before.at) if before else 0.0
            usable = {core: past[core] for core in self._usable if core in past}
            if self.core is not None:
                if is_crowded(self.core, usable, own):
                    log.info("let a core go that others use", core=self.core)
                    self.release()
                    self._next_try = now + random.uniform(*PAUSE_S)  # noqa: S311  # nosec B311  # no secret
            elif now >= self._next_try:
                self._next_try = now + AGAIN_S
                self._take(usable)
        except OSError as error:
            # A sandbox forbids it, or there is no /proc.
            log.info("no core of its own", error=error.strerror)
            self._usable = []

    def release(self) -> None:
        """Let the core go, if there is one, and run on all. Raises OSError if that is not allowed."""
        if self._socket is not None:
            affinity.release()
            self._socket.close()
        self.core = self._socket = None

    def _take(self, usable: Mapping[int, float]) -> None:
        """Take the idlest core that is free, any of them at the start."""
        shuffled = random.sample(self._usable, len(self._usable))  # nosec B311  # no secret
        for core in sorted(shuffled, key=lambda one: usable.get(one, 0.0)):
            taken = socket.socket(socket.AF_UNIX)
            try:
                taken.bind(f"\0{self._name}-{core}")
            except OSError:
                taken.close()
                continue
            try:
                affinity.bind(core)
            except OSError:
                taken.close()
                raise
            self.core, self._socket = core, taken
            log.info("bound to a core", core=core)
            return


def _usage() -> Usage:
    return Usage(time.monotonic(), busy_seconds(_STAT.read_text()), time.process_time())
