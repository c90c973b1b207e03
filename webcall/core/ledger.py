"""The ledger: what was known of each call when it was placed, until its end is told to observers.

Nothing about an owner may stand in a room, so what LiveKit's events are about is kept here, under the
room's name, in the limits' storage. An entry is written before its room is created, follows LiveKit's
events, and is claimed in one step by the end of the room: with several processes, and events that
come twice, each end is told once. Only where a plugin implements `webcall_call_ended` is there one.

A claim is settled before the end is told. One that is not, since its process died or never got Redis's
answer, runs out, and another process tells; one whose settling was not answered is settled again by the
process that has it, by its own end at the latest, so that it knows whether the end is its own to tell.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import structlog

from webcall.config.settings import CallConfig
from webcall.core.endings import Entry, Kept, ended, facts_of
from webcall.core.leases import LONGEST_S
from webcall.core.room_events import STALE_S, RoomEvent
from webcall.core.storage import StorageHealth
from webcall.errors import BackendError, LimitsUnavailable
from webcall.logs import describe
from webcall.observed import EndedCall

log = structlog.stdlib.get_logger("webcall.ledger")

# How often each process looks for calls whose end LiveKit did not tell, or nobody told on.
SWEEP_S = 60.0
# At most so many then: observers have to keep up.
SWEEP_MOST = 100
# A room in which nobody has been waits for longer than this, by its leeway alone (webcall.core.rooms).
EMPTY_S = 30.0
# Much longer than any exchange with the storage.
CLAIM_S = 60.0
# For so long the process's end waits for the last exchange of a sweep, and then for what is not settled.
CLOSING_S = 2.0


class LedgerStore(Protocol):
    """Keeps entries. Each method is one step: nobody sees the middle of it, and nobody comes between.

    `room_age_s` is how old the room is that an event is about, by LiveKit's own clock: a room that is
    older than its entry is one that had the name before, and its events are not followed. `holder` tells
    a request from others for the same room.
    """

    def write(self, entry: Entry, lasts_s: float, holder: str) -> bool:
        """Keep an entry, overdue in `lasts_s`. Return False if its room has one: that is held instead."""
        ...

    def forget(self, room: str, holder: str) -> None:
        """Hold the room's entry no more: without other holders it is taken out, unless somebody joined."""
        ...

    def note(self, room: str, facts: Mapping[str, str], room_age_s: float | None) -> None:
        """Add facts to the room's entry; of `endings.JOINED_AT` the first one stays."""
        ...

    def claim(
        self, room: str, room_age_s: float | None = None, closed_at: float | None = None
    ) -> Kept | None:
        """Claim the room's entry, which is the room's no more; None if there is none.

        The claim holds for `CLAIM_S`. `closed_at` is when the room closed, in seconds since 1970.
        """
        ...

    def claim_overdue(self, most: int) -> Sequence[Kept]:
        """Claim at most so many of the entries that are overdue, or whose claims have run out."""
        ...

    def settle(self, token: str) -> bool:
        """Take out a claimed entry. Return False if somebody else has claimed it meanwhile.

        The same answer for an hour, so that it can be asked for again.
        """
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
        # Claims that are to be settled, for the first time or again, and whether they are to be told.
        self._unsettled: deque[tuple[Kept, bool]] = deque()
        self._closing = threading.Event()
        self._sweeper: threading.Thread | None = None

    @contextmanager
    def written(self, entry: Entry, *, waits_s: float) -> Iterator[Written]:
        """Hold an entry for a room that is created inside the block; take it out unless it is kept.

        `waits_s` is how long the room waits for somebody to join. Raises `LimitsUnavailable` if the
        storage is down and required; if it is down and not required, the call goes on unknown.
        """
        # Events that are older than STALE_S are not followed: from then on nothing more can be told.
        lasts_s = waits_s + (self._call.max_duration_s or LONGEST_S) + STALE_S
        holder = secrets.token_hex(8)
        fresh = self._health.ask(lambda: self._store.write(entry, lasts_s, holder), otherwise=None)
        written = Written()
        try:
            yield written
        finally:
            if written.kept and fresh is False and not written.repeated:
                self._replace(entry, lasts_s, holder)
            elif fresh is not None and not written.kept:
                with suppress(LimitsUnavailable):
                    self._health.ask(lambda: self._store.forget(entry.room_name, holder), None)

    def _replace(self, entry: Entry, lasts_s: float, holder: str) -> None:
        """Tell of the call that had the room's name before, whose end was never told; write the new one.

        No call was before where the entry is a repeat's of the same moment, whose room this request has made.
        """

        def replace() -> Kept | None:
            before = self._store.claim(entry.room_name)
            self._store.write(entry, lasts_s, holder)
            return before

        with suppress(LimitsUnavailable):
            before = self._health.ask(replace, None)
            if before is not None:
                self._settle(before, tell=not self._is_new(before))

    def _is_new(self, kept: Kept) -> bool:
        return not kept.facts and self._clock() - kept.entry.created_at < EMPTY_S

    def on_event(self, event: RoomEvent) -> None:
        """Follow LiveKit's event. Repeated events do no harm.

        Raises `BackendError` if the storage is down, so that LiveKit sends the event again.
        """
        if event.kind == "room_finished":
            kept = self._ask(lambda: self._store.claim(event.room, event.room_age_s, event.at))
            if kept is not None:
                self._settle(kept, tell=True)
        elif facts := facts_of(event):
            self._ask(lambda: self._store.note(event.room, facts, event.room_age_s))

    def sweep(self) -> int:
        """Tell of calls that must be over and of which nobody has told; return how many they were.

        Does nothing while the storage is down. For one thread.
        """
        overdue: Sequence[Kept] = ()
        with suppress(LimitsUnavailable):
            overdue = self._health.ask(lambda: self._store.claim_overdue(SWEEP_MOST), overdue)
        self._unsettled.extend((kept, True) for kept in overdue)
        told = 0
        for _ in range(len(self._unsettled)):
            if self._closing.is_set():
                break
            kept, tell = self._unsettled.popleft()
            told += self._settle(kept, tell=tell)
        return told

    def sweeping(self, every_s: float = SWEEP_S) -> Ledger:
        """Return itself, sweeping in a thread of its own until it is closed, though nothing else happens."""

        def keep() -> None:
            while not self._closing.wait(every_s):
                try:
                    self.sweep()
                except Exception as error:
                    log.error("ends of calls cannot be looked for", **describe(error))

        self._sweeper = threading.Thread(target=keep, name="ledger", daemon=True)
        self._sweeper.start()
        return self

    def close(self) -> None:
        """End the sweeping, settle and tell what is left, and give back the store's connections."""
        self._closing.set()
        if self._sweeper is not None:
            self._sweeper.join(CLOSING_S)
        until = time.monotonic() + CLOSING_S
        # Though the storage may be left alone just now: nobody asks later.
        with suppress(Exception):
            while self._unsettled and time.monotonic() < until:
                kept, tell = self._unsettled[0]
                if self._store.settle(kept.token) and tell:
                    self._tell_of(kept)
                self._unsettled.popleft()
        if self._unsettled:
            log.error("ends of calls may stay untold", calls=len(self._unsettled))
        self._store.close()

    def _settle(self, kept: Kept, *, tell: bool) -> bool:
        """Settle a claim, and tell of its call if that is to be; return whether it was told.

        The next sweep tries again where the storage does not answer.
        """
        mine: bool | None = None
        with suppress(LimitsUnavailable):
            mine = self._health.ask(lambda: self._store.settle(kept.token), None)
        if mine is None:
            self._unsettled.append((kept, tell))
        if mine and tell:
            self._tell_of(kept)
        return bool(mine and tell)

    def _tell_of(self, kept: Kept) -> None:
        self._tell(ended(kept, now=self._clock(), max_duration_s=self._call.max_duration_s))

    def _ask(self, exchange: Callable[[], Kept | None]) -> Kept | None:
        answer = self._health.ask(lambda: (exchange(),), None)
        if answer is None:
            raise BackendError("limits: the storage does not answer")
        return answer[0]
