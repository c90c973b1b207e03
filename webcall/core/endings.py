"""What LiveKit's events tell of a call, and who ended it. Pure.

A call's facts are text by name, as a store keeps them: when the person came and last left and why, each
assistant and why it left, and the assistant's own word. What LiveKit sends: docs/livekit.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import NamedTuple, cast, get_args

from webcall.core.room_events import RoomEvent
from webcall.observed import EndedBy, EndedCall

# The attribute in which an assistant says who ended the call, a moment before it closes the room.
WORD = "webcall.ended_by"
# Of the facts the one whose first value counts: a person who comes back has been there before.
JOINED_AT = "joined_at"
_LEFT_AT, _REASON, _WORD, _ASSISTANT = "left_at", "reason", "word", "assistant:"

_CLOSED = ("", "ROOM_DELETED", "ROOM_CLOSED")
_ON_PURPOSE = ("CLIENT_INITIATED", "USER_REJECTED")
# LiveKit tells times to the second, and nobody closes a room at the very moment.
_TIME_TOLERANCE_S = 3


class Fact(NamedTuple):
    """A fact as a store keeps it: `order` tells which of two was noted first."""

    order: int
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a call when it is placed; `created_at` in seconds since 1970."""

    room_name: str
    assistant_id: str
    owner: str
    key_id: str | None
    text_only: bool
    created_at: float

    def as_text(self) -> str:
        """Return it as a store keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Entry:
        """Return what `as_text` made, without what a later version has added."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


@dataclass(frozen=True, slots=True)
class Kept:
    """A call as a store gives it back: its entry, and the facts so far.

    `closed_at` is when LiveKit closed the room, in seconds since 1970; None if it never told of that.
    `token` is the store's name of this claim.
    """

    entry: Entry
    facts: Mapping[str, Fact]
    closed_at: float | None = None
    token: str = ""


def facts_of(event: RoomEvent) -> dict[str, str]:
    """Return what an event tells of its call; nothing for most."""
    if event.kind not in ("participant_joined", "participant_left"):
        return {}
    left = event.kind == "participant_left"
    if event.of_person:
        came = {JOINED_AT: str(event.joined_at or event.at)}
        return came | {_LEFT_AT: str(event.at) if left else "", _REASON: event.reason if left else ""}
    if not event.of_assistant:
        return {}
    facts = {_ASSISTANT + event.identity: event.reason if left else ""}
    word = event.attributes.get(WORD, "")
    return facts | {_WORD: word} if left and word in get_args(EndedBy) else facts


def ended(kept: Kept, *, now: float, max_duration_s: int) -> EndedCall:
    """Return what observers are told of a call that is over.

    If LiveKit never told that the room has closed, a call whose person was seen leaving ended there, and any
    other is given up at `now`, in seconds since 1970. `max_duration_s` is `call.max_duration_s`.
    """
    entry, facts, closed_at = kept.entry, kept.facts, kept.closed_at
    joined_at = _moment(facts, JOINED_AT)
    ended_at = _moment(facts, _LEFT_AT) or closed_at
    length_s: int | None = None if closed_at is None else 0
    if joined_at is not None and ended_at is not None:
        length_s = max(0, round(ended_at - joined_at))
    by = "unknown" if ended_at is None else _ended_by(facts, length_s or 0, max_duration_s)
    return EndedCall(
        room_name=entry.room_name,
        assistant_id=entry.assistant_id,
        owner=entry.owner,
        key_id=entry.key_id,
        text_only=entry.text_only,
        created_at=datetime.fromtimestamp(entry.created_at, UTC),
        joined_at=None if joined_at is None else datetime.fromtimestamp(joined_at, UTC),
        ended_at=datetime.fromtimestamp(ended_at or now, UTC),
        length_s=length_s,
        ended_by=cast(EndedBy, by),
        answered=joined_at is not None and bool(_assistants(facts)),
    )


def _ended_by(facts: Mapping[str, Fact], length_s: int, max_duration_s: int) -> str:
    if JOINED_AT not in facts:
        return "nobody_came"
    if _WORD in facts:
        # It alone knows that the person said goodbye before it closed the room.
        return facts[_WORD].text
    assistants, gone = _assistants(facts), _gone_before_the_person(facts)
    if gone and len(gone) == len(assistants):
        return "assistant" if gone[-1] in _ON_PURPOSE else "outage"
    reason = _text(facts, _REASON)
    if reason in _CLOSED:
        if max_duration_s and length_s >= max_duration_s - _TIME_TOLERANCE_S:
            return "time"
        if not reason:
            return "unknown"
        return "assistant" if assistants else "outage"
    if reason == "SERVER_SHUTDOWN":
        return "outage"
    if reason == "PARTICIPANT_REMOVED":
        return "unknown"
    return "caller" if reason in _ON_PURPOSE else "connection"


def _gone_before_the_person(facts: Mapping[str, Fact]) -> list[str]:
    """Return why those assistants left that left while the person was there, in that order."""
    left = facts.get(_LEFT_AT)
    until = left.order if left is not None and left.text else math.inf
    gone = [one for one in _assistants(facts) if one.text not in _CLOSED and one.order < until]
    return [one.text for one in sorted(gone)]


def _assistants(facts: Mapping[str, Fact]) -> list[Fact]:
    """Return why each assistant left; empty text for those that are there or of which it was not told."""
    return [fact for name, fact in facts.items() if name.startswith(_ASSISTANT)]


def _text(facts: Mapping[str, Fact], name: str) -> str:
    return facts[name].text if name in facts else ""


def _moment(facts: Mapping[str, Fact], name: str) -> float | None:
    text = _text(facts, name)
    return float(text) if text else None
