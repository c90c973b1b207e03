"""The ledger: what was known of each call when it was placed, until its end is told to observers.

Nothing about an owner may stand in a room, so what LiveKit's events are about is kept here, under the
room's name, in the limits' storage. An entry is written before its room is created, follows LiveKit's
events, and is taken out in one step by the end of the room: with several processes, and events that
come twice, each end is told once. Only where a plugin implements `webcall_call_ended` is there one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from webcall.config.settings import CallConfig
from webcall.core.endings import Entry, Kept, ended, facts_of
from webcall.core.leases import LONGEST_S
from webcall.core.room_events import STALE_S, RoomEvent
from webcall.core.storage import StorageHealth
from webcall.errors import BackendError, LimitsUnavailable
from webcall.interfaces import EndedCall

# How often each process looks for calls whose end LiveKit did not tell.
SWEEP_S = 60.0
SWEEP_MOST = 100
# A room in which nobody has been waits for longer than this, by its leeway alone (webcall.core.rooms).
EMPTY_S = 30.0


class LedgerStore(Protocol):
    """Keeps entries. Each method is one step: nobody sees the middle of it, and nobody comes between.

    `room_since` is when LiveKit made the room that an event is about, in seconds since 1970: a room
    that is older than its entry is one that had the name before, and its events are not followed.
    """

    def write(self, entry: Entry, lasts_s: float) -> bool:
        """Keep an entry, overdue in `lasts_s`. Return False if its room has one already, which stays."""
        ...

    def note(self, room: str, facts: Mapping[str, str], room_since: float | None) -> None:
        """Add facts to the room's entry; of `endings.JOINED_AT` the first one stays."""
        ...

    def pop(self, room: str, room_since: float | None = None) -> Kept | None:
        """Take the room's entry out; None if there is none."""
        ...

    def overdue(self, most: int) -> Sequence[Kept]:
        """Take out at most so many of the entries that are overdue."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class Written:
    """An entry inside its block. It is taken out at the block's end unless it is kept."""

    def __init__(self) -> None:
        self.kept = False
        self.repeated = False

    def keep(self, *, repeated: bool) -> None:
        """Leave the entry to the room; `repeated`: it was there for an earlier request of the same."""
        self.kept, self.repeated = True, repeated


class Ledger:
    """Knows of each call until its end, and tells it."""

    def __init__(
        self,
        store: LedgerStore,
        health: StorageHealth,
        tell: Callable[[EndedCall], None],
        call: CallConfig,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what `tell` is to be called with each ended call; `clock` gives seconds since 1970."""
        self._store = store
        self._health = health
        self._tell = tell
        self._call = call
        self._clock = clock
        self._sweep_at = clock() + SWEEP_S

    @contextmanager
    def written(self, entry: Entry, *, waits_s: float) -> Iterator[Written]:
        """Hold an entry for a room that is created inside the block; take it out unless it is kept.

        `waits_s` is how long the room waits for somebody to join. Raises `LimitsUnavailable` if the
        storage is down and required; if it is down and not required, the call goes on unknown.
        """
        # Events that are older than STALE_S are not followed: from then on nothing more can be told.
        lasts_s = waits_s + (self._call.max_duration_s or LONGEST_S) + STALE_S
        fresh = self._health.ask(lambda: self._store.write(entry, lasts_s), otherwise=None)
        written = Written()
        try:
            yield written
        finally:
            if written.kept and fresh is False and not written.repeated:
                self._replace(entry, lasts_s)
            elif fresh and not written.kept:
                with suppress(LimitsUnavailable):
                    self._health.ask(lambda: self._store.pop(entry.room_name), None)
        self._sweep_sometimes()

    def _replace(self, entry: Entry, lasts_s: float) -> None:
        """Tell of the call that had the room's name before, whose end was never told; write the new one.

        No call was before where the entry is this one's, written twice since Redis was asked again, or that
        of a repeat at the same moment, whose room this request has made.
        """

        def replace() -> Kept | None:
            before = self._store.pop(entry.room_name)
            self._store.write(entry, lasts_s)
            return before

        with suppress(LimitsUnavailable):
            before = self._health.ask(replace, None)
            if before is not None and not self._is_new(before):
                self._tell_of(before, None)

    def _is_new(self, kept: Kept) -> bool:
        return not kept.facts and self._clock() - kept.entry.created_at < EMPTY_S

    def on_event(self, event: RoomEvent) -> None:
        """Follow LiveKit's event. Repeated events do no harm.

        Raises `BackendError` if the storage is down, so that LiveKit sends the event again.
        """
        if event.kind == "room_finished":
            kept = self._ask(lambda: self._store.pop(event.room, event.room_since))
            if kept is not None:
                self._tell_of(kept, event.at)
        elif facts := facts_of(event):
            self._ask(lambda: self._store.note(event.room, facts, event.room_since))
        self._sweep_sometimes()

    def sweep(self) -> int:
        """Tell of calls that must be over and whose end LiveKit did not tell; return how many they were.

        Does nothing while the storage is down.
        """
        overdue: Sequence[Kept] = ()
        with suppress(LimitsUnavailable):
            overdue = self._health.ask(lambda: self._store.overdue(SWEEP_MOST), overdue)
        for kept in overdue:
            self._tell_of(kept, None)
        return len(overdue)

    def close(self) -> None:
        """Give back the store's connections."""
        self._store.close()

    def _sweep_sometimes(self) -> None:
        now = self._clock()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            self.sweep()

    def _tell_of(self, kept: Kept, closed_at: float | None) -> None:
        duration_s = self._call.max_duration_s
        self._tell(ended(kept, closed_at=closed_at, now=self._clock(), max_duration_s=duration_s))

    def _ask(self, exchange: Callable[[], Kept | None]) -> Kept | None:
        answer = self._health.ask(lambda: (exchange(),), None)
        if answer is None:
            raise BackendError("limits: the storage does not answer")
        return answer[0]
