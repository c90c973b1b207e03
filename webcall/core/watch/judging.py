"""What is to be done about one room, from what is seen of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from webcall.config.settings import WatchConfig
from webcall.core.livekit_rooms import Sent
from webcall.core.notices import Notice
from webcall.core.room_events import RoomEvent

# Tries count together if they lie within this time, and no assistant has stayed for a while in between:
# one that dies an hour after it was sent again is another matter than one that dies at once, each time.
TRIES_WITHIN_S = 600.0
STAYED_S = 60.0
# A worker that has taken a dispatch gets so many times `grace_s` to enter: it may have to start a process.
ENTERING = 3
_BY_ITSELF = "CLIENT_INITIATED"
# LiveKit's names of reasons for which an assistant is gone on purpose: its own, or an operator's.
_ON_PURPOSE = (_BY_ITSELF, "PARTICIPANT_REMOVED", "ROOM_DELETED", "ROOM_CLOSED")


class Departure(Enum):
    """How the last assistant went, as far as LiveKit's events have told."""

    unknown = auto()
    died = auto()
    left = auto()


def departure(event: RoomEvent) -> Departure:
    """Return what LiveKit's event about an assistant's leaving means."""
    if event.reason not in _ON_PURPOSE:
        return Departure.died
    stayed_s = math.inf if event.joined_at is None else event.at - event.joined_at
    if event.reason == _BY_ITSELF and not event.took_part and stayed_s < STAYED_S:
        # One that could not finish entering leaves in the same way as one that says goodbye: LiveKit's
        # library gives up so, after 15 s, when the assistant's process is starved. The server had it for
        # present all the while.
        return Departure.unknown
    return Departure.left


@dataclass(frozen=True, slots=True)
class View:
    """What is seen of a room with a person in it and no assistant.

    `alone_s`: for how long that has been seen here. `sent`: the service's own dispatches, the oldest
    first, which is the one that the room was made with; none where LiveKit lists none any more.
    `since_sent_s`: the age of the newest dispatch, whoever's it is (infinite without one), and `entering`
    whether a worker took it whose assistant has not been seen since. `stayed_at` is when an assistant was
    last seen that had stayed for `STAYED_S`. It, as `now`, is in seconds since 1970.
    """

    alone_s: float
    departure: Departure
    sent: Sequence[Sent]
    since_sent_s: float
    entering: bool
    now: float
    stayed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be done for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SendAgain:
    """Another assistant is to be sent, as `dispatch` did; `tried` is how often that was done lately."""

    dispatch: Sent
    tried: int


@dataclass(frozen=True, slots=True)
class Close:
    """The person is to be told, and the room to be closed."""

    notice: Notice


def judge(view: View, rules: WatchConfig) -> Wait | SendAgain | Close:
    """Return what is to be done about a room in which a person has no assistant."""
    if view.departure is Departure.left:
        # It ended the call and left the person behind; or it handed over to another one, who is on the way.
        wait_s = rules.grace_s - min(view.alone_s, view.since_sent_s)
        return Wait(wait_s) if wait_s > 0 else Close(Notice.goodbye)
    if not view.sent:
        # There is nothing to send again, and an assistant that is on the way gets its time.
        wait_s = rules.grace_s * ENTERING - view.alone_s
        return Wait(wait_s) if wait_s > 0 else Close(Notice.no_assistant)
    since = max(view.now - TRIES_WITHIN_S, view.stayed_at)
    tried = sum(one.created_at > since for one in view.sent[1:])
    died = view.departure is Departure.died
    # What has died needs no time to come.
    pause_s = 0.0 if died and not tried else rules.grace_s * 2**tried
    if view.entering and not died:
        pause_s = max(pause_s, rules.grace_s * ENTERING)
    wait_s = max(pause_s - view.since_sent_s, 0.0 if died else rules.grace_s - view.alone_s)
    if wait_s > 0:
        return Wait(wait_s)
    return SendAgain(view.sent[-1], tried) if tried < rules.tries else Close(Notice.no_assistant)


def overtime_s(
    *, created_at: float, empty_timeout_s: float, joined_at: float, longest_s: float, now: float
) -> float:
    """Return for how many seconds a call is past its longest time; before that it is negative.

    It counts from when the person joined, as the worker counts, and at the latest from the end of the
    time in which they could: who joins again does not begin anew.
    """
    return now - (min(joined_at, created_at + empty_timeout_s) + longest_s)
