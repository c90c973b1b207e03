"""Leases in this process's memory: right for one process, each of several counts its own."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from webcall.core.leases import Full, Taken, Wanted, is_earlier_room

# How often all that has expired is removed; what a request counts is up to date at any time.
_SWEEP_S = 60


@dataclass(slots=True)
class _Lease:
    wanted: Wanted
    since: float
    ends_at: float
    live: bool = False
    holders: set[str] = field(default_factory=set)


class MemoryLeases:
    """A `LeaseStore` without connections. One lock makes each method one step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a monotonic clock in seconds, by which leases end."""
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[str, _Lease] = {}
        self._calls: defaultdict[str, set[str]] = defaultdict(set)
        self._waiting: defaultdict[str, set[str]] = defaultdict(set)
        self._sweep_at = 0.0

    def take(self, wanted: Wanted) -> Taken | Full:
        """Take a place unless all are taken. A lease that the room has is kept, and waits anew."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            there = self._of(wanted.room, now)
            if there is not None:
                if not there.live:
                    there.ends_at = now + wanted.waits_s
                    there.holders.add(wanted.holder)
                return Taken(fresh=False)
            full = self._full(self._calls, wanted.key, wanted.most_calls, now)
            if full is not None:
                return Full(True, full)
            full = self._full(self._waiting, wanted.address, wanted.most_waiting, now)
            if full is not None:
                return Full(False, full)
            holders = {wanted.holder}
            self._leases[wanted.room] = _Lease(wanted, now, now + wanted.waits_s, holders=holders)
            if wanted.most_calls is not None:
                self._calls[wanted.key].add(wanted.room)
            if wanted.most_waiting is not None:
                self._waiting[wanted.address].add(wanted.room)
            return Taken(fresh=True)

    def give_back(self, wanted: Wanted) -> None:
        """Give back what was taken and came to nothing, unless it is live or another request holds it too."""
        with self._lock:
            lease = self._of(wanted.room, self._clock())
            if lease is None or lease.live or wanted.holder not in lease.holders:
                return
            lease.holders.discard(wanted.holder)
            if not lease.holders:
                self._remove(wanted.room)

    def join(self, room: str, room_age_s: float | None = None) -> None:
        """Somebody is in the room: its lease waits no more, and lasts as long as a call may."""
        with self._lock:
            now = self._clock()
            lease = self._of(room, now)
            if lease is None or lease.live or is_earlier_room(room_age_s, lease.since, now):
                return
            lease.live, lease.ends_at = True, now + lease.wanted.lasts_s
            _leave(self._waiting, lease.wanted.address, room)

    def end(self, room: str, room_age_s: float | None = None) -> None:
        """Give back the places of the room."""
        with self._lock:
            now = self._clock()
            lease = self._of(room, now)
            if lease is not None and not is_earlier_room(room_age_s, lease.since, now):
                self._remove(room)

    def close(self) -> None:
        """There is nothing to give back."""

    def _of(self, room: str, now: float) -> _Lease | None:
        lease = self._leases.get(room)
        if lease is not None and lease.ends_at <= now:
            self._remove(room)
            return None
        return lease

    def _full(
        self, counted: defaultdict[str, set[str]], name: str, most: int | None, now: float
    ) -> float | None:
        """Return in how many seconds the next lease ends if there are `most` or more."""
        if most is None:
            return None
        there = [lease for room in list(counted.get(name, ())) if (lease := self._of(room, now))]
        if len(there) < most:
            return None
        return min((lease.ends_at for lease in there), default=math.inf) - now

    def _remove(self, room: str) -> None:
        wanted = self._leases.pop(room).wanted
        _leave(self._calls, wanted.key, room)
        _leave(self._waiting, wanted.address, room)

    def _sweep(self, now: float) -> None:
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_S
            for room in list(self._leases):
                self._of(room, now)


def _leave(counted: defaultdict[str, set[str]], name: str, room: str) -> None:
    rooms = counted.get(name)
    if rooms is not None:
        rooms.discard(room)
        if not rooms:
            del counted[name]
