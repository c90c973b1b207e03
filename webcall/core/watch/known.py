"""What a watcher has seen of one room, and when it is to look there again."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from webcall.core.dispatch import longest_call_s
from webcall.core.livekit_rooms import OpenRoom, Present, Sent
from webcall.core.room_events import RoomEvent
from webcall.core.watch.judging import STAYED_S, Departure, View, departure, overtime_s

# Of a room about which LiveKit does not answer, one that a dead node left behind for instance.
_FIRST_REST_S = 5.0
_LONGEST_REST_S = 600.0


@dataclass
class Known:
    """What is kept of one room. Times are of the monotonic clock, but for those of LiveKit's.

    `joined_at`, `stayed_at`, `departed_at` and each `now` are by LiveKit's clock (`OpenRooms.now`), in
    seconds since 1970. `ours` is None until the room's dispatches have been read.
    """

    sid: str
    ours: bool | None = None
    longest_s: float = math.inf
    joined_at: float = math.inf
    had_people: bool = False
    alone_since: float | None = None
    with_one_since: float | None = None
    stayed_at: float = 0.0
    departure: Departure = Departure.unknown
    departed_at: float = 0.0
    seen: set[str] = field(default_factory=set)
    busy: bool = False
    rest_until: float = 0.0
    rest_s: float = 0.0
    next_look: asyncio.TimerHandle | None = None

    @property
    def rests(self) -> bool:
        """Whether LiveKit has not answered about the room, and is not to be asked just now."""
        return self.rest_until > time.monotonic()

    def rest(self, *, longer: bool) -> None:
        """Let the room rest; `longer`: for twice as long as the last time, up to a limit."""
        grown_s = 2 * self.rest_s if longer else 0.0
        self.rest_s = min(max(grown_s, _FIRST_REST_S), _LONGEST_REST_S)
        self.rest_until = time.monotonic() + self.rest_s

    def end_rest(self) -> None:
        """Look at the room whenever there is reason to."""
        self.rest_s = self.rest_until = 0.0

    def plan_no_look(self) -> None:
        """Take back the look that is planned."""
        if self.next_look is not None:
            self.next_look.cancel()
            self.next_look = None

    def read(self, dispatches: Sequence[Sent]) -> bool:
        """Learn from its dispatches how long the call may last; return whether the room is this service's."""
        limits = [longest_call_s(one.metadata) for one in dispatches]
        lengths = [limit for limit in limits if limit is not None]
        self.ours = bool(lengths)
        if lengths:
            self.longest_s = lengths[0]
        return self.ours

    def depart(self, event: RoomEvent) -> None:
        """Note LiveKit's event about an assistant that has gone."""
        self.departure, self.departed_at = departure(event), event.at
        if self.departure is Departure.left and not self.had_people:
            # It has ended no call: its worker had to stop, say, while the room waited.
            self.departure = Departure.unknown

    def note(self, present: Present, now: float) -> None:
        """Note who is in the room now."""
        self.seen |= present.assistants
        self.had_people = self.had_people or present.people > 0
        if present.joined_at is not None:
            self.joined_at = min(self.joined_at, present.joined_at)
        if present.assistants:
            self.departure = Departure.unknown
            if self.with_one_since is None:
                self.with_one_since = time.monotonic()
            elif time.monotonic() - self.with_one_since > STAYED_S:
                self.stayed_at = now
        else:
            self.with_one_since = None
        if present.assistants or not present.people:
            self.alone_since = None
        elif self.alone_since is None:
            self.alone_since = time.monotonic()

    def overtime_s(self, room: OpenRoom, now: float) -> float:
        """Return for how many seconds the call is past its longest time, as `judging.overtime_s` does."""
        return overtime_s(
            created_at=room.created_at,
            empty_timeout_s=room.empty_timeout_s,
            joined_at=self.joined_at,
            longest_s=self.longest_s,
            now=now,
        )

    def view(self, dispatches: Sequence[Sent], now: float) -> View:
        """Return what is seen of the room, in which a person is alone."""
        newest = dispatches[-1] if dispatches else None
        departed = self.departure
        # Events have whole seconds.
        if departed is Departure.died and newest is not None and newest.created_at > self.departed_at + 1:
            # It was not this one that died, which another watcher has sent.
            departed = Departure.unknown
        return View(
            alone_s=time.monotonic() - (self.alone_since or 0.0),
            departure=departed,
            sent=[one for one in dispatches if longest_call_s(one.metadata) is not None],
            since_sent_s=math.inf if newest is None else max(0.0, now - newest.created_at),
            entering=newest is not None and newest.taken and not newest.identities & self.seen,
            now=now,
            stayed_at=self.stayed_at,
        )
