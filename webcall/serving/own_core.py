"""One core for each worker.

The threads of a worker hand the interpreter's lock to each other several times in a request: on one core that
takes half the CPU that it takes on two (benchmarks/PROFILE.md). A worker takes

- a core that no other worker of this machine has. Who binds the abstract Unix socket of a core has it; the
  kernel frees it when the process ends. In containers with networks of their own the sockets do not see each
  other, and so it
- lets a core go that others keep busy, if another one is idler, and takes one again later.

Who has found none free runs on all of them, and looks again: after a reload the old workers' become free.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from webcall import affinity

log = structlog.stdlib.get_logger("webcall.serving")

LOOK_S = 1.0
# So many looks in a row have to find the core crowded: long enough for the system to have moved away who is
# not bound to it.
LOOKS = 10
# A worker that needs less of its core than this is in nobody's way, and nobody in its.
BUSY = 0.1
# Until another look for a core after one was let go, so that two do not come back at once.
PAUSE_S = (30.0, 90.0)
# Others' share of a core from which on it is left, if another core is idler by at least the margin.
TOO_MUCH, MARGIN = 0.4, 0.2

# Of a system that is short of something now.
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EINTR)

_STAT = Path("/proc/stat")
_TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """What had been used at a time: of each core since the machine's start, and by this process."""

    at: float
    busy_s: Mapping[int, float]
    own_s: float


def busy_seconds(stat: str) -> dict[int, float]:
    """Return for how long each core has been busy, by the text of /proc/stat (proc(5)).

    Without the time of what has been told to be nice: it makes room for all others.
    """
    found = {}
    for name, *times in map(str.split, stat.splitlines()):
        if name.startswith("cpu") and name != "cpu":
            user, _nice, system, _idle, _waiting, *interrupts = map(int, times[:8])
            # With the eighth, time that a virtual machine's core was another one's.
            found[int(name[3:])] = (user + system + sum(interrupts)) / _TICKS_S
    return found


def shares(before: Usage, now: Usage) -> dict[int, float]:
    """Return for which part of the time between the two each core was busy."""
    both = now.busy_s.keys() & before.busy_s.keys()
    return {core: (now.busy_s[core] - before.busy_s[core]) / (now.at - before.at) for core in both}


def is_crowded(core: int, usable: Mapping[int, float], own: float) -> bool:
    """Return whether to leave a core alone, by the shares of all `usable` ones and this process's `own`."""
    return usable[core] - own > TOO_MUCH and usable[core] - min(usable.values()) > MARGIN


class OwnCore:
    """The core that a worker has taken, or None. Belongs to one thread, which calls `look` now and then."""

    def __init__(self, wanted: bool) -> None:
        """Take nothing yet; nor ever if not `wanted`, or where there is nothing to choose."""
        self.core: int | None = None
        # Not known before the first look.
        self._usable: list[int] | None = None if wanted else []
        self._name = os.environ.get("WEBCALL_CORE_SOCKETS", "webcall-core")  # tests have their own
        self._socket: socket.socket | None = None
        self._usage: Usage | None = None
        self._next_look = self._not_before = 0.0
        self._crowded = 0

    def look(self, now: float) -> None:
        """Take a core, or let it go, if it is time for that."""
        if now < self._next_look or self._usable == []:
            return
        self._next_look = now + LOOK_S
        try:
            if self._usable is None:
                usable = sorted(affinity.usable())
                self._usable = usable if len(usable) > 1 else []
            if self._usable:
                self._go_on(now, self._usable)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _PASSING:
                # As it is; tried again at the next look.
                return
            # A sandbox forbids it, or there is no /proc/stat that tells of cores.
            log.info("no core of its own", error=type(error).__name__)
            self._usable = []
            with suppress(OSError):
                self.release()

    def release(self) -> None:
        """Let the core go, if there is one, and run on all. Raises OSError if that is not allowed."""
        taken, self._socket, self.core = self._socket, None, None
        if taken is not None:
            with taken:
                affinity.release()

    def _go_on(self, now: float, cores: list[int]) -> None:
        before, self._usage = self._usage, _usage()
        past, own = {}, 0.0
        if before:
            past = shares(before, self._usage)
            own = (self._usage.own_s - before.own_s) / (self._usage.at - before.at)
        usable = {core: past.get(core, 0.0) for core in cores if core in self._usage.busy_s}
        quiet = {core: share for core, share in usable.items() if not is_crowded(core, usable, own)}
        if self.core is None:
            if now >= self._not_before:
                self._take(quiet)
            return
        in_the_way = before is not None and own > BUSY and self.core not in quiet
        self._crowded = self._crowded + 1 if in_the_way else 0
        if self._crowded == LOOKS:
            self._leave(now)

    def _leave(self, now: float) -> None:
        log.info("let a core go that others use", core=self.core)
        self.release()
        self._crowded = 0
        self._not_before = now + random.uniform(*PAUSE_S)  # noqa: S311  # nosec B311  # no secret

    def _take(self, quiet: Mapping[int, float]) -> None:
        """Take the best one of these that is free, any of them at the start, or none."""
        beside_taken = {core: any(map(self._is_taken, affinity.siblings(core))) for core in quiet}
        shuffled = random.sample(sorted(quiet), len(quiet))  # nosec B311  # no secret
        # Of two halves of one core (SMT), each is half as good while the other is in use.
        for core in sorted(shuffled, key=lambda one: (beside_taken[one], quiet[one])):
            taken = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                taken.bind(self._address(core))
            except OSError as error:
                taken.close()
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
            self.core, self._socket = core, taken
            affinity.bind(core)
            log.info("bound to a core", core=core)
            return

    def _is_taken(self, core: int) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
            return asking.connect_ex(self._address(core)) == 0

    def _address(self, core: int) -> str:
        return f"\0{self._name}-{core}"


def _usage() -> Usage:
    return Usage(time.monotonic(), busy_seconds(_STAT.read_text()), time.process_time())
