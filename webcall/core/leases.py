"""Leases: which calls of a key are live, and which rooms of an address wait for somebody to join.

A lease is taken before a room is created, under the room's name, and ends by itself: a waiting one when
its room would close with nobody in it, a live one when the call has to be over. LiveKit's events end it
sooner. LiveKit is never asked which rooms there are: its list holds the ghosts of nodes that died, and
costs all rooms each time.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Protocol

from webcall.config.settings import CallConfig, LimitsConfig
from webcall.core.room_events import RoomEvent
from webcall.core.storage import StorageHealth
from webcall.errors import BackendError, LimitsUnavailable, TooManyCalls
from webcall.interfaces import Caller

# For the media connection and LiveKit's event about it, after a joining in the last second.
GRACE_S = 10
# Of a call that may last for ever: LiveKit tells its end, or else this is it.
LONGEST_S = 24 * 3600
MOST_RETRY_AFTER_S = 60
# A room that is older than its lease by more is not the room of this lease but one that had the name
# before. LiveKit's clock may be set while a call lasts.
CLOCK_TOLERANCE_S = 60

TOO_MANY_CALLS = (
    "This API key has as many calls at once as it may have. Try again when one of them has ended; "
    "the key's max_concurrent_calls says how many they may be."
)
TOO_MANY_WAITING = (
    "Too many calls from this address wait for somebody to join them. "
    "Join them or let them run out, then try again."
)


def is_earlier_room(room_age_s: float | None, since: float, now: float) -> bool:
    """Return whether a room of this age was there before what is kept of its name `since` then.

    An event about it is not about the call. An age of None is not known, and taken for the call's own.
    """
    return room_age_s is not None and now - room_age_s < since - CLOCK_TOLERANCE_S


@dataclass(frozen=True, slots=True)
class Wanted:
    """A lease to be taken for `room`. A limit of None does not count, so what it counts by is not used.

    `holder` tells this request from others for the same room: repeats with one Idempotency-Key.
    """

    room: str
    key: str
    most_calls: int | None
    address: str
    most_waiting: int | None
    waits_s: float
    lasts_s: float
    holder: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True, slots=True)
class Taken:
    """The lease is there. `fresh` is False if the room had it before: an idempotent repeat."""

    fresh: bool


@dataclass(frozen=True, slots=True)
class Full:
    """There is no place: by which limit, and in how many seconds its next lease ends, at the latest."""

    by_calls: bool
    next_end_s: float


class LeaseStore(Protocol):
    """Keeps leases. Each method is one step: nobody sees the middle of it, and nobody comes between."""

    def take(self, wanted: Wanted) -> Taken | Full:
        """Take a place unless all are taken. A lease that the room has is kept, and waits anew."""
        ...

    def give_back(self, wanted: Wanted) -> None:
        """Give back what was taken and came to nothing, unless it is live or another request holds it too."""
        ...

    def join(self, room: str, room_age_s: float | None = None) -> None:
        """Somebody is in the room: its lease waits no more, and lasts as long as a call may.

        `room_age_s` is how old the room is by LiveKit's own clock. Without a lease, nothing.
        """
        ...

    def end(self, room: str, room_age_s: float | None = None) -> None:
        """Give back the places of the room. Without a lease, nothing."""
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


class Lease:
    """A lease inside its block. It is given back at the block's end unless it is kept."""

    def __init__(self) -> None:
        self.kept = False

    def keep(self) -> None:
        """Leave the lease to the room, which is there now."""
        self.kept = True


class Leases:
    """Counts live and waiting calls, and turns away those past a limit."""

    def __init__(
        self, store: LeaseStore, health: StorageHealth, limits: LimitsConfig, call: CallConfig
    ) -> None:
        self._store = store
        self._health = health
        self._limits = limits
        self._call = call

    def held(
        self, room: str, caller: Caller, address: str, *, waits_s: float
    ) -> AbstractContextManager[Lease]:
        """Hold a lease for a room that is created inside the block; give it back unless it is kept.

        `waits_s` is how long the room waits for somebody to join. Raises `TooManyCalls`; and
        `LimitsUnavailable` if the storage is down and required.
        """
        most_calls, most_waiting = self._most(caller)
        if most_calls is None and most_waiting is None:
            return nullcontext(Lease())
        waits = waits_s + GRACE_S
        lasts = self._call.max_duration_s + waits if self._call.max_duration_s else LONGEST_S
        return self._held(Wanted(room, caller.counted_as, most_calls, address, most_waiting, waits, lasts))

    @contextmanager
    def _held(self, wanted: Wanted) -> Iterator[Lease]:
        lease = Lease()
        answer: Taken | Full | None = None
        answer = self._health.ask(lambda: self._store.take(wanted), answer)
        if isinstance(answer, Full):
            told = TOO_MANY_CALLS if answer.by_calls else TOO_MANY_WAITING
            raise TooManyCalls(math.ceil(min(answer.next_end_s, MOST_RETRY_AFTER_S)), told)
        try:
            yield lease
        finally:
            if answer is not None and not lease.kept:
                with suppress(LimitsUnavailable):
                    self._health.ask(lambda: self._store.give_back(wanted), None)

    def _most(self, caller: Caller) -> tuple[int | None, int | None]:
        """Return how many calls the key may have at once, and its address waiting rooms; None: any number."""
        most_calls, most_waiting = caller.max_concurrent_calls, None
        if caller.publishable:
            most_waiting = self._limits.waiting_per_address or None
            if most_calls is None:
                most_calls = self._limits.publishable_max_concurrent_calls or None
        return most_calls, most_waiting

    def on_event(self, event: RoomEvent) -> None:
        """Follow LiveKit's event. Repeated events and those out of order do no harm.

        Raises `BackendError` if the storage is down, so that LiveKit sends the event again.
        """
        if event.kind == "participant_joined" and event.of_person:
            follow = self._store.join
        elif event.kind == "room_finished":
            follow = self._store.end
        else:
            return

        def followed() -> bool:
            follow(event.room, event.room_age_s)
            return True

        if not self._health.ask(followed, otherwise=False):
            raise BackendError("limits: the storage does not answer")

    def close(self) -> None:
        """Give back the store's connections."""
        self._store.close()
