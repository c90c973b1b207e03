"""What is drawn for a room, and rooms that a dead LiveKit node has left: whose they are goes by its clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from webcall.config.settings import CallConfig
from webcall.core import rooms
from webcall.core.idempotency import LEFT_BEHIND, Candidate, Found, Mark
from webcall.core.livekit import LiveKit, LiveRoom, NewRoom
from webcall.core.rooms import Earlier, NameTaken, Rooms, random_candidate

NONCE, BODY = "0" * 32, "1" * 32


class MakesAgain:
    """A LiveKit that makes a dead node's room again, with this request's metadata, under some sid."""

    def __init__(self, ahead_s: float, sid: str) -> None:
        self.ahead = timedelta(seconds=ahead_s)
        self.sid = sid
        self.asked: list[NewRoom] = []

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def create_room(self, room: NewRoom) -> LiveRoom:
        self.asked.append(room)
        return LiveRoom(room.name, room.metadata, 0, self.sid)


def create(livekit: MakesAgain, ends: datetime) -> Earlier | None:
    """Create the room that was found, whose first token ends then, and whose sid is `RM_old`."""
    found = Found("RM_old", Mark(NONCE, BODY, ends))
    return Rooms(cast(LiveKit, livekit), CallConfig(60, 20, 3600)).create(
        Candidate("helper_00000000", "person", NONCE, BODY, found),
        expires_at=livekit.now() + timedelta(seconds=60),
        join_window=timedelta(seconds=60),
        agent_name="agent",
        dispatch_metadata="{}",
    )


def end_of(room: NewRoom) -> datetime:
    mark = Candidate("", "", NONCE, BODY).recognise(room.metadata)
    assert mark is not None
    return mark.expires_at


@pytest.mark.parametrize("ahead_s", [0, 600, -600])
def test_one_that_can_still_be_joined_is_given(ahead_s: float) -> None:
    """With the end of the first token, at which it closes; no later one may do."""
    livekit = MakesAgain(ahead_s, "RM_old")
    ends = (livekit.now() + timedelta(seconds=30)).replace(microsecond=0)
    assert create(livekit, ends) == Earlier(entered=False, expires_at=ends)
    assert end_of(livekit.asked[0]) == ends


@pytest.mark.parametrize("ahead_s", [0, 600, -600])
def test_one_that_is_too_old_is_not(ahead_s: float) -> None:
    """It may close at any moment: the next name is asked for, and no repeat is given it either."""
    livekit = MakesAgain(ahead_s, "RM_old")
    with pytest.raises(NameTaken):
        create(livekit, livekit.now() - timedelta(seconds=30))
    assert end_of(livekit.asked[0]) == LEFT_BEHIND


def test_one_that_has_closed_meanwhile_is_made_anew() -> None:
    """Another sid is another room, which this request has made."""
    livekit = MakesAgain(0, "RM_new")
    assert create(livekit, livekit.now() + timedelta(seconds=30)) is None


def test_what_is_drawn_for_a_call_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room, identity and nonce have random digits of their own: who sees one knows nothing of the others."""
    found = [random_candidate("helper") for _ in range(1000)]
    for one in found:
        assert re.fullmatch("helper_[0-9a-f]{8}", one.room_name)
        assert re.fullmatch("caller-[0-9a-f]{32}", one.identity)
        assert re.fullmatch("[0-9a-f]{32}", one.nonce)
    assert len({one.identity for one in found} | {one.nonce for one in found}) == 2000
    monkeypatch.setattr(rooms, "draw", lambda digits: "".join(chr(0x4E00 + at) for at in range(digits)))
    one = random_candidate("")
    drawn = one.room_name.removeprefix("_") + one.identity.removeprefix("caller-") + one.nonce
    assert len(set(drawn)) == len(drawn) == 8 + 32 + 32
