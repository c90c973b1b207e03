"""The ledger in this process's memory: for one process, which forgets it when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from webcall.core.endings import JOINED_AT, Entry, Fact, Kept
from webcall.core.leases import is_earlier_room


@dataclass(slots=True)
class _Entry:
    entry: Entry
    since: float
    due_at: float
    holders: set[str]
    facts: dict[str, Fact] = field(default_factory=dict)
    notes: int = 0


class MemoryLedger:
    """A `LedgerStore` without connections. One lock makes each method one step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a monotonic clock in seconds, by which entries get overdue."""
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def write(self, entry: Entry, lasts_s: float, holder: str) -> bool:
        """Keep an entry unless its room has one."""
        with self._lock:
            there = self._entries.get(entry.room_name)
            if there is not None:
                if JOINED_AT not in there.facts:
                    there.holders.add(holder)
                return False
            now = self._clock()
            self._entries[entry.room_name] = _Entry(entry, now, now + lasts_s, {holder})
            return True

    def forget(self, room: str, holder: str) -> None:
        """Take the room's entry out, unless another one holds it too or somebody joined."""
        with self._lock:
            found = self._entries.get(room)
            if found is None or JOINED_AT in found.facts or holder not in found.holders:
                return
            found.holders.discard(holder)
            if not found.holders:
                del self._entries[room]

    def note(self, room: str, facts: Mapping[str, str], room_age_s: float | None) -> None:
        """Add facts to the room's entry."""
        with self._lock:
            found = self._of(room, room_age_s)
            if found is not None:
                found.notes += 1
                first = {JOINED_AT: found.facts[JOINED_AT]} if JOINED_AT in found.facts else {}
                found.facts |= {name: Fact(found.notes, text) for name, text in facts.items()} | first

    def claim(
        self, room: str, room_age_s: float | None = None, closed_at: float | None = None
    ) -> Kept | None:
        """Take the room's entry out."""
        with self._lock:
            found = self._of(room, room_age_s)
            return None if found is None else self._take(room, closed_at)

    def claim_overdue(self, most: int) -> list[Kept]:
        """Take out at most so many of the entries that are overdue."""
        with self._lock:
            now = self._clock()
            due = [room for room, one in self._entries.items() if one.due_at <= now]
            return [self._take(room) for room in due[:most]]

    def settle(self, token: str) -> bool:
        """Return True: what was claimed was taken out, and the answer cannot be lost."""
        return True

    def close(self) -> None:
        """There is nothing to give back."""

    def _of(self, room: str, room_age_s: float | None) -> _Entry | None:
        found = self._entries.get(room)
        if found is None or is_earlier_room(room_age_s, found.since, self._clock()):
            return None
        return found

    def _take(self, room: str, closed_at: float | None = None) -> Kept:
        taken = self._entries.pop(room)
        return Kept(taken.entry, taken.facts, closed_at)
