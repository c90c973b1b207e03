"""What observers are told of calls: placed, refused, ended. No key, token, prompt or metadata is in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class CreatedCall:
    """A call that was placed, as observers are told of it: no key, token, prompt or metadata.

    `key_id` is what listings call the key, `at` the moment in UTC. `repeated`: the answer to a repeat
    of a request, for a room that was there already.
    """

    room_name: str
    assistant_id: str
    owner: str
    key_id: str | None
    text_only: bool
    repeated: bool
    request_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A request for a call that got none. What was not known yet when it was refused is None."""

    reason: str
    status: int
    owner: str | None
    key_id: str | None
    assistant_id: str | None
    request_id: str
    at: datetime


EndedBy = Literal["caller", "connection", "assistant", "time", "nobody_came", "outage", "unknown"]
"""Who or what ended a call.

`caller`: the person hung up. `connection`: theirs went away, and they did not come back. `assistant`: it
said goodbye, or its worker closed the room. `time`: the call reached its longest time. `nobody_came`:
nobody joined. `outage`: the assistant failed, vanished, had to stop, or never came and the room was
closed for it. `unknown`: nothing tells.
"""


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that is over, as observers are told of it: once, and only if a room was created for it.

    `created_at` is the moment of the request, by this service's clock; `joined_at` (None: nobody came)
    and `ended_at`, when the person left for the last time or the room was closed, are by LiveKit's, to
    the second. All are in UTC. `length_s` is the time in between: 0 if nobody came, and None if LiveKit
    never told of an end, where `ended_at` is when it was given up. `answered`: somebody joined,
    and an assistant did. `owner`, `key_id` and the others are those of `CreatedCall`.
    """

    room_name: str
    assistant_id: str
    owner: str
    key_id: str | None
    text_only: bool
    created_at: datetime
    joined_at: datetime | None
    ended_at: datetime
    length_s: int | None
    ended_by: EndedBy
    answered: bool
