"""LiveKit's events: which are believed, which are followed, and who is told."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest
from livekit import api
from structlog.testing import capture_logs

from tests.support.webhooks import event, sign, signed
from webcall.config.settings import LiveKitConfig
from webcall.core.room_events import STALE_S, RoomEvent, RoomEvents
from webcall.errors import BackendError, Unauthorized

KEY, SECRET = "APIkey", "s" * 40
CONFIG = LiveKitConfig("ws://127.0.0.1:7880", "", KEY, SECRET, "agent", 5)
BODY = json.dumps(event("room_finished", "room")).encode()


class Heard:
    """Takes LiveKit's events and keeps what was told."""

    def __init__(self) -> None:
        self.events = RoomEvents(CONFIG)
        self.told: list[RoomEvent] = []
        self.events.subscribe(self.told.append)

    def receive(self, told: dict[str, Any]) -> None:
        self.events.receive(*signed(told, KEY, SECRET))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[Any]]:
    """What is logged meanwhile."""
    with capture_logs() as logged:
        yield logged


def test_what_is_told(heard: Heard) -> None:
    """A listener gets LiveKit's name of the event, the room, how old it is, and who it is about."""
    person = {"identity": "caller-1", "kind": "STANDARD", "state": "ACTIVE", "fieldOfTomorrow": [1]}
    heard.receive(event("participant_joined", "r1", participant=person))
    heard.receive(event("participant_joined", "r1", participant={"identity": "agent-1", "kind": "AGENT"}))
    heard.receive(
        event("participant_joined", "r1", participant={"identity": "new", "kind": "KIND_OF_TOMORROW"})
    )
    heard.receive(event("participant_joined", "r1", participant={"identity": "plain"}))
    heard.receive(event("room_finished", "r1", roomEndReason="SOMETHING_NEW"))
    assert [(one.kind, one.room, one.identity, one.of_person) for one in heard.told] == [
        ("participant_joined", "r1", "caller-1", True),
        ("participant_joined", "r1", "agent-1", False),
        ("participant_joined", "r1", "new", True),
        ("participant_joined", "r1", "plain", True),
        ("room_finished", "r1", "", False),
    ]
    assert all(one.room_age_s is not None and one.room_age_s < 60 for one in heard.told)


def test_who_left_and_why(heard: Heard) -> None:
    """A listener is told whether an assistant or a person left, for which reason, and of which room."""
    person = {"identity": "caller-1", "kind": "STANDARD", "disconnectReason": "CLIENT_INITIATED"}
    person["joinedAt"] = "1000"
    assistant: dict[str, Any] = {"identity": "agent-1", "kind": "AGENT", "disconnectReason": 77}
    assistant["attributes"] = {"a": "b"}
    speaker = {**assistant, "isPublisher": True}
    listener = {**assistant, "attributes": {"lk.agent.state": "listening"}}
    recorder = {"identity": "EG_1", "kind": "EGRESS"}
    for one in (person, assistant, recorder):
        heard.receive(event("participant_left", "r1", participant=one))
    heard.receive(event("participant_joined", "r1", participant=person))
    assert [(one.of_person, one.of_assistant, one.reason, one.sid) for one in heard.told] == [
        (True, False, "CLIENT_INITIATED", "RM_x"),
        (False, True, "UNKNOWN_REASON", "RM_x"),
        (False, False, "UNKNOWN_REASON", "RM_x"),
        (True, False, "", "RM_x"),
    ]
    assert [one.joined_at for one in heard.told] == [1000, None, None, 1000]
    assert [dict(one.attributes) for one in heard.told] == [{}, {"a": "b"}, {}, {}]
    for one in (speaker, listener):
        heard.receive(event("participant_left", "r1", participant=one))
    assert [one.took_part for one in heard.told] == [False, False, False, False, True, True]
    assert all(abs(one.at - time.time()) < 60 for one in heard.told)


def join_token() -> str:
    grants = api.VideoGrants(room_join=True, room="room")
    return api.AccessToken(KEY, SECRET).with_identity("caller").with_grants(grants).to_jwt()


def without_expiry() -> str:
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    return jwt.encode({"iss": KEY, "sha256": digest}, SECRET, algorithm="HS256")


def unsigned() -> str:
    digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    claims = {"iss": KEY, "sha256": digest, "exp": int(time.time()) + 60}
    return jwt.encode(claims, None, algorithm="none")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "x",
        "a.b.c",
        "\u00ff",
        "Bearer " + sign(BODY, KEY, SECRET),
        sign(BODY, KEY, "t" * 40),
        sign(BODY, "other", SECRET),
        sign(BODY + b" ", KEY, SECRET),
        sign(b"", KEY, SECRET),
        sign(BODY, KEY, SECRET, timedelta(minutes=-10)),
        sign(BODY, KEY, SECRET)[:-2],
        join_token(),
        without_expiry(),
        unsigned(),
    ],
    ids=range(14),
)
def test_forgeries(heard: Heard, signature: str, lines: list[Any]) -> None:
    """What LiveKit has not signed is refused; nobody is told of it, and nothing of it is logged."""
    with pytest.raises(Unauthorized):
        heard.events.receive(BODY, signature)
    assert (heard.told, lines) == ([], [])


def test_while_the_secret_is_changed() -> None:
    """Events signed with the previous pair are taken too, while there is one, and no mixture of the two."""
    other = ("APIold", "o" * 40)
    config = replace(CONFIG, previous_api_key=other[0], previous_api_secret=other[1])
    events = RoomEvents(config)
    for pair in ((KEY, SECRET), other):
        events.receive(BODY, sign(BODY, *pair))
    for pair in ((KEY, other[1]), (other[0], SECRET)):
        with pytest.raises(Unauthorized):
            events.receive(BODY, sign(BODY, *pair))
    with pytest.raises(Unauthorized):
        RoomEvents(CONFIG).receive(BODY, sign(BODY, *other))


def test_a_body_that_is_no_text(heard: Heard) -> None:
    """Bytes that are not UTF-8 are refused whatever their signature."""
    with pytest.raises(Unauthorized):
        heard.events.receive(b"\xff\xfe", sign(b"\xff\xfe", KEY, SECRET))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'{"event": 1}', b'{"room": "x"}'])
def test_what_cannot_be_understood(heard: Heard, body: bytes) -> None:
    """What LiveKit has signed and this version does not understand is ignored."""
    heard.events.receive(body, sign(body, KEY, SECRET))
    assert heard.told == []


def test_stale_and_repeated_events(heard: Heard) -> None:
    """An event counts once, and only for some minutes; one without a room not at all."""
    now = int(time.time())
    for moment in (now - STALE_S - 5, now + STALE_S + 5, 0):
        heard.receive(event("room_finished", "r1") | {"createdAt": str(moment)})
    heard.receive(event("egress_started", ""))
    assert heard.told == []
    once = event("room_finished", "r1")
    for _ in range(3):
        heard.receive(once)
    heard.receive(event("room_finished", "r1"))
    assert len(heard.told) == 2


@pytest.mark.parametrize("ahead_s", [-900, 900])
def test_clocks_that_differ(ahead_s: int) -> None:
    """Where LiveKit's clock is known, its events are followed or stale by that one."""
    told: list[RoomEvent] = []
    events = RoomEvents(CONFIG, lambda: time.time() + ahead_s)
    events.subscribe(told.append)
    for late_s in (0, STALE_S + 5):
        now = int(time.time()) + ahead_s - late_s
        body = json.dumps(event("room_finished", "r1") | {"createdAt": str(now)}).encode()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        claims = {"iss": KEY, "sha256": digest, "nbf": now + late_s, "exp": now + late_s + 300}
        events.receive(body, jwt.encode(claims, SECRET, algorithm="HS256"))
    assert len(told) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_repeat_waits_for_the_first(heard: Heard, fails: bool) -> None:
    """An event that comes again while it is being followed is not taken before it has been."""
    began, go_on = threading.Event(), threading.Event()

    def slow(_: RoomEvent) -> None:
        began.set()
        go_on.wait(10)
        if fails:
            raise BackendError("down")

    heard.events.subscribe(slow)
    once = event("room_finished", "r1")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(heard.receive, once)
        assert began.wait(10)
        second = pool.submit(heard.receive, once)
        assert not wait([second], timeout=0.2).done
        go_on.set()
        for answer in (first, second):
            assert isinstance(answer.exception(10), BackendError if fails else type(None))
    assert len(heard.told) == 1


def test_what_is_remembered_is_bounded(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the events that came only the last ones are known again."""
    monkeypatch.setattr("webcall.core.room_events._MOST_REMEMBERED", 3)
    sent = [event("room_finished", f"r{number}") for number in range(5)]
    for one in sent:
        heard.receive(one)
    heard.receive(sent[4])
    assert len(heard.told) == 5
    heard.receive(sent[0])
    assert len(heard.told) == 6
    assert len(heard.events._seen) == 3


@pytest.mark.parametrize("error", [BackendError("down"), ValueError("holds a secret")])
def test_a_listener_that_fails(heard: Heard, error: Exception, lines: list[Any]) -> None:
    """The others are told all the same, and the event is taken again when LiveKit sends it again."""
    failing = True

    def listener(_: RoomEvent) -> None:
        if failing:
            raise error

    heard.events = RoomEvents(CONFIG)
    heard.events.subscribe(listener)
    heard.events.subscribe(heard.told.append)
    sent = event("room_finished", "r1")
    for expected in (1, 2):
        with pytest.raises(BackendError):
            heard.receive(sent)
        assert len(heard.told) == expected
    failing = False
    heard.receive(sent)
    heard.receive(sent)
    assert len(heard.told) == 3
    # An outage has a line of its own already.
    assert len(lines) == (0 if isinstance(error, BackendError) else 2)
    assert "secret" not in str(lines)
