"""What is to be done about one room, and how the service's own rooms are known."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from webcall.config.settings import WatchConfig
from webcall.core.dispatch import dispatch_metadata, longest_call_s
from webcall.core.idempotency import derived_candidates, made_here
from webcall.core.livekit_rooms import Sent
from webcall.core.notices import Notice
from webcall.core.room_events import RoomEvent
from webcall.core.rooms import random_candidate
from webcall.core.watch.judging import (
    STAYED_S,
    TRIES_WITHIN_S,
    Close,
    Departure,
    SendAgain,
    View,
    Wait,
    departure,
    judge,
    overtime_s,
)
from webcall.core.watch.known import Known

RULES = WatchConfig(bind="", sweep_s=10, grace_s=10, tries=3, overtime_s=30)
NOW = 1_800_000_000.0


def view(*ages_s: float, **changed: Any) -> View:
    """Return a room whose dispatches have these ages, seen without an assistant for a long time."""
    sent = [Sent("agent", "{}", NOW - age_s, frozenset()) for age_s in ages_s]
    told = {
        "alone_s": 1000.0,
        "departure": Departure.unknown,
        "since_sent_s": ages_s[-1],
        "entering": False,
        **changed,
    }
    return View(sent=sent, now=NOW, **told)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        # Nobody has come: the first assistant has its time, by the dispatch's age and by what is seen here.
        (view(4), Wait(6)),
        (view(300, alone_s=3), Wait(7)),
        (view(11), 0),
        # Each further try waits twice as long, and after the last one too.
        (view(40, 11), Wait(9)),
        (view(40, 21), 1),
        (view(100, 60, 30), Wait(10)),
        (view(100, 60, 41), 2),
        (view(200, 170, 140, 79), Wait(1)),
        (view(200, 170, 140, 81), Close(Notice.no_assistant)),
        # A worker has taken it: it may have to start a process.
        (view(11, entering=True), Wait(19)),
        (view(31, entering=True), 0),
        # The assistant has died: at once, unless another has just been sent.
        (view(900, departure=Departure.died, alone_s=0), 0),
        (view(1, departure=Departure.died, alone_s=0), 0),
        (view(900, departure=Departure.died, alone_s=0, entering=True), 0),
        (view(900, 5, departure=Departure.died, alone_s=0), Wait(15)),
        # What was tried long ago does not count.
        (view(5000, *[TRIES_WITHIN_S + 1] * 5), 0),
        # Nor what was tried before an assistant stayed for a while.
        (view(500, 400, 300, 200, stayed_at=NOW - 100, departure=Departure.died), 0),
        (view(500, 400, 300, 21, stayed_at=NOW - 100), 1),
        # The assistant has left of its own will: the call is over, unless it sent another one.
        (view(900, departure=Departure.left, alone_s=4), Wait(6)),
        (view(900, departure=Departure.left, since_sent_s=2), Wait(8)),
        (view(900, departure=Departure.left), Close(Notice.goodbye)),
    ],
)
def test_what_is_to_be_done(seen: View, expected: Wait | Close | int) -> None:
    """A person without an assistant gets one after a time, more seldom each time, and is told at the end."""
    found = judge(seen, RULES)
    if isinstance(expected, int):
        assert found == SendAgain(seen.sent[-1], expected)
    elif isinstance(expected, Wait):
        assert isinstance(found, Wait)
        assert found.seconds == pytest.approx(expected.seconds)
    else:
        assert found == expected


def gone(reason: str, after_s: float | None = None, *, took_part: bool = False) -> RoomEvent:
    """Return LiveKit's event about an assistant that left so many seconds after it came."""
    came_at = None if after_s is None else 1000.0
    return RoomEvent(
        "participant_left",
        "r",
        reason=reason,
        at=1000 + (after_s or 0),
        joined_at=came_at,
        took_part=took_part,
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        # livekit-agents' own time for entering is 15 s, or more where the machine is busy.
        (gone("CLIENT_INITIATED", after_s=16), Departure.unknown),
        (gone("CLIENT_INITIATED", after_s=16, took_part=True), Departure.left),
        (gone("CLIENT_INITIATED", after_s=STAYED_S), Departure.left),
        (gone("CLIENT_INITIATED"), Departure.left),
        (gone("PARTICIPANT_REMOVED", after_s=1), Departure.left),
        (gone("CONNECTION_TIMEOUT", after_s=16), Departure.died),
    ],
)
def test_an_assistant_that_could_not_enter_has_not_said_goodbye(
    event: RoomEvent, expected: Departure
) -> None:
    """One that leaves by itself soon after it came, and had shown nothing of itself, may have failed."""
    assert departure(event) is expected


def test_why_an_assistant_has_gone() -> None:
    """Leaving, being put out and the room's end are on purpose; all else, known or not, is a death."""
    on_purpose = {"CLIENT_INITIATED", "PARTICIPANT_REMOVED", "ROOM_DELETED", "ROOM_CLOSED"}
    for reason in (*on_purpose, "CONNECTION_TIMEOUT", "SIGNAL_CLOSE", "AGENT_ERROR", "UNKNOWN_REASON"):
        expected = Departure.left if reason in on_purpose else Departure.died
        assert departure(gone(reason, after_s=600)) is expected


def test_a_call_is_as_long_as_from_its_joining() -> None:
    """Overtime counts from the joining, and whoever joins again does not begin anew."""
    room = {"created_at": 1000.0, "empty_timeout_s": 120.0, "longest_s": 60.0}
    assert overtime_s(**room, joined_at=1010, now=1080) == 10
    assert overtime_s(**room, joined_at=9000, now=1180) == 0
    assert overtime_s(**{**room, "longest_s": math.inf}, joined_at=1010, now=1e9) == -math.inf


def test_the_services_own_dispatches() -> None:
    """A dispatch of this service tells how long its call may last; another's is none."""
    parts: dict[str, Any] = {"room": "r", "definition": {}, "metadata": {}, "text_only": False}
    assert longest_call_s(dispatch_metadata(**parts, max_duration_s=60)) == 60
    assert longest_call_s(dispatch_metadata(**parts, max_duration_s=0)) == math.inf
    for limit in (True, "60", None, -1):
        assert longest_call_s(json.dumps({"web_call": {"max_duration_s": limit}})) == math.inf
    for foreign in ("", "x", "[]", "null", "{}", '{"web_call": 1}', "[" * 100_000):
        assert longest_call_s(foreign) is None


def test_the_services_own_rooms() -> None:
    """Rooms of both kinds of requests are known by their metadata, and those of others are not."""
    now = datetime.now(UTC)
    asked: dict[str, Any] = {"api_secret": "s", "counted_as": "k", "assistant_id": "a", "header": "h"}
    assert made_here(random_candidate("a").metadata(now))
    assert made_here(derived_candidates(**asked, body={})[0].metadata(now))
    for foreign in ("", "x", "[]", "null", "{}", '{"nonce": 1}', '{"nonce": "x"}', "[" * 100_000):
        assert not made_here(foreign)


@pytest.mark.parametrize(("died_s", "expected"), [(23, Wait(9)), (2, 1)])
def test_another_watcher_has_sent_one_for_the_dead(died_s: float, expected: Wait | int) -> None:
    """One that a worker has taken gets its time, though it was another watcher who sent it for a dead one."""
    known = Known("RM_1", ours=True, seen={"dead"})
    known.alone_since = time.monotonic() - died_s
    known.depart(RoomEvent("participant_left", "r", reason="CONNECTION_TIMEOUT", at=NOW - died_s))
    ours = json.dumps({"web_call": {}})
    sent = [
        Sent("agent", ours, NOW - 900, frozenset({"dead"})),
        Sent("agent", ours, NOW - 21, frozenset({"entering"})),
    ]
    verdict = judge(known.view(sent, NOW), RULES)
    assert verdict == (SendAgain(sent[-1], expected) if isinstance(expected, int) else expected)


def test_a_room_whose_dispatches_are_gone() -> None:
    """Where LiveKit lists no dispatch any more nothing can be sent again: who is alone waits, and is told."""
    known = Known("RM_1", ours=True)
    known.alone_since = time.monotonic() - 10
    verdict = judge(known.view([], NOW), RULES)
    assert isinstance(verdict, Wait)
    assert 15 < verdict.seconds <= 20
    known.alone_since -= 30
    assert judge(known.view([], NOW), RULES) == Close(Notice.no_assistant)
    known.departure = Departure.left
    assert judge(known.view([], NOW), RULES) == Close(Notice.goodbye)
