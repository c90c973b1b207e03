"""Who ended a call, from LiveKit's events in the order in which it sends them (docs/livekit.md)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from webcall.core.endings import WORD, Entry, ended, facts_of
from webcall.core.ledger_in_memory import MemoryLedger
from webcall.core.room_events import RoomEvent
from webcall.observed import EndedCall

ENTRY = Entry("r", "helper", "ada@example.com", "lvk_1", False, 1000.25)
LONGEST_S = 600


def came(who: str = "caller", at: float = 1010) -> RoomEvent:
    assistant = who.startswith("agent")
    return RoomEvent("participant_joined", "r", 10, who, not assistant, assistant, at=at, joined_at=at)


def left(reason: str, who: str = "caller", at: float = 1100, word: str = "", **changes: Any) -> RoomEvent:
    assistant = who.startswith("agent")
    attributes = {WORD: word} if word else {}
    about = {"at": at, "joined_at": 1010, "attributes": attributes, "reason": reason} | changes
    return RoomEvent("participant_left", "r", 10, who, not assistant, assistant, **about)


def told(events: Iterable[RoomEvent], closed_at: float | None = 1120) -> EndedCall:
    """Follow events through a store, and return what is told."""
    store = MemoryLedger()
    store.write(ENTRY, 3600, "asker")
    for event in events:
        if facts := facts_of(event):
            store.note("r", facts, event.room_age_s)
    kept = store.claim("r", None, closed_at)
    assert kept is not None
    return ended(kept, now=9000, max_duration_s=LONGEST_S)


AGENT = came("agent-1", 1005)
RECORDER = RoomEvent("participant_left", "r", 10, "EG_1", at=1100, reason="CLIENT_INITIATED")
TWO, RELOADED = came("agent-2"), left("DUPLICATE_IDENTITY", at=1050)


@pytest.mark.parametrize(
    ("events", "by"),
    [
        ([], "nobody_came"),
        ([AGENT, left("ROOM_CLOSED", "agent-1")], "nobody_came"),
        ([AGENT, came(), left("CLIENT_INITIATED"), left("CLIENT_INITIATED", "agent-1")], "caller"),
        ([AGENT, came(), left("CLIENT_INITIATED"), left("ROOM_CLOSED", "agent-1")], "caller"),
        ([came(), left("CLIENT_INITIATED")], "caller"),
        ([AGENT, came(), left("CONNECTION_TIMEOUT"), left("ROOM_CLOSED", "agent-1")], "connection"),
        ([AGENT, came(), left("REASON_OF_TOMORROW")], "connection"),
        ([AGENT, came(), left("ROOM_DELETED", "agent-1"), left("ROOM_DELETED")], "assistant"),
        ([AGENT, came(), left("ROOM_DELETED"), left("ROOM_DELETED", "agent-1")], "assistant"),
        ([AGENT, came(), left("CLIENT_INITIATED", "agent-1"), left("CLIENT_INITIATED")], "assistant"),
        ([AGENT, came(), left("CONNECTION_TIMEOUT", "agent-1"), left("CLIENT_INITIATED")], "outage"),
        ([AGENT, came(), left("CONNECTION_TIMEOUT", "agent-1"), left("ROOM_DELETED")], "outage"),
        ([came(), left("ROOM_DELETED")], "outage"),
        ([AGENT, came(), left("SERVER_SHUTDOWN")], "outage"),
        ([AGENT, came(), left("PARTICIPANT_REMOVED")], "unknown"),
        ([AGENT, came()], "unknown"),
        ([AGENT, came(at=500), left("ROOM_DELETED", "agent-1"), left("ROOM_DELETED")], "time"),
        ([AGENT, came(at=500), left("CLIENT_INITIATED")], "caller"),
        # A second assistant took over from one that died, or left because there was one.
        (
            [
                AGENT,
                came(),
                left("CONNECTION_TIMEOUT", "agent-1", 1050),
                came("agent-2", 1051),
                left("CLIENT_INITIATED"),
            ],
            "caller",
        ),
        ([AGENT, TWO, came(), left("CLIENT_INITIATED", "agent-2"), left("ROOM_DELETED")], "assistant"),
        # A page that was loaded again.
        ([AGENT, came(), RELOADED, came(at=1050), left("CLIENT_INITIATED")], "caller"),
        ([AGENT, came(), RELOADED, came(at=1050)], "unknown"),
        # The assistant's word counts, whatever the order; nobody else's does, nor another word.
        ([AGENT, came(), left("ROOM_DELETED"), left("ROOM_DELETED", "agent-1", word="caller")], "caller"),
        ([AGENT, came(), left("ROOM_DELETED", "agent-1", word="time"), left("ROOM_DELETED")], "time"),
        ([AGENT, came(), left("ROOM_DELETED", word="caller")], "assistant"),
        ([AGENT, came(), left("ROOM_DELETED", "agent-1", word="canary"), left("ROOM_DELETED")], "assistant"),
        # A recorder is nobody.
        ([AGENT, came(), RECORDER], "unknown"),
    ],
)  # fmt: skip
def test_who_ended_it(events: list[RoomEvent], by: str) -> None:
    """Each order of events that LiveKit sends has its word; events that came twice change nothing."""
    assert told(events).ended_by == by
    assert told(twice for event in events for twice in (event, event)).ended_by == by


def test_what_is_told() -> None:
    """A call has the moments of the person, and their length to the second, not the room's."""
    call = told([AGENT, came(), left("CLIENT_INITIATED")])
    assert call == EndedCall(
        room_name="r",
        assistant_id="helper",
        owner="ada@example.com",
        key_id="lvk_1",
        text_only=False,
        created_at=datetime.fromtimestamp(1000.25, UTC),
        joined_at=datetime.fromtimestamp(1010, UTC),
        ended_at=datetime.fromtimestamp(1100, UTC),
        length_s=90,
        ended_by="caller",
        answered=True,
    )
    nobody = told([AGENT])
    assert (nobody.joined_at, nobody.length_s, nobody.answered) == (None, 0, False)
    assert nobody.ended_at == datetime.fromtimestamp(1120, UTC)
    assert told([came()]).length_s == 110, "there until the room was closed"
    assert not told([came(), left("CLIENT_INITIATED")]).answered


def test_events_that_were_lost() -> None:
    """Of a joining that LiveKit did not tell the leaving tells; without any end the length is not known."""
    assert told([left("CLIENT_INITIATED")]).length_s == 90
    seen_leaving = told([AGENT, came(), left("CLIENT_INITIATED")], closed_at=None)
    assert (seen_leaving.ended_by, seen_leaving.length_s) == ("caller", 90)
    for events in ([], [AGENT], [AGENT, came()]):
        lost = told(events, closed_at=None)
        assert (lost.ended_by, lost.length_s) == ("unknown", None)
        assert lost.ended_at == datetime.fromtimestamp(9000, UTC)


def test_an_entry_of_a_later_version() -> None:
    """What another version has written beside is left out, as it is while one replaces the other."""
    entry = Entry("room", "helper", "ada@example.com", None, False, 1000.0)
    later = json.dumps(json.loads(entry.as_text()) | {"of_tomorrow": 1})
    assert Entry.from_text(later) == entry
