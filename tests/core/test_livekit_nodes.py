"""What is asked again of several LiveKit nodes, and which of several faults is told."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator

import pytest
from livekit import api

from tests.support.fake_livekit import Exchange, FakeLiveKit
from webcall.config import LiveKitConfig
from webcall.core import leftovers, livekit_nodes
from webcall.core.http_connection import Broken, NotReached
from webcall.core.livekit import LiveKit, NewRoom
from webcall.core.livekit_faults import NotAskedAgain, explain
from webcall.core.livekit_nodes import create_where_a_node_lives
from webcall.errors import LiveKitError

ROOM = NewRoom("helper_00000000", '{"nonce": "ours"}', "agent", "{}", 120, 20)
UNAVAILABLE = api.ServerError(api.ServerErrorCode.UNAVAILABLE, "", status=503)


def failing(faults: list[Exception]) -> Callable[[float], api.Room]:
    """Return what fails in these ways, one after the other, and then in the last one again and again."""
    left = list(faults)

    def create(_: float) -> api.Room:
        raise left.pop(0) if len(left) > 1 else left[0]

    return create


@pytest.mark.parametrize("not_sent", [NotReached("nothing listens"), ssl.SSLError("no TLS")])
@pytest.mark.parametrize("first", [TimeoutError(), UNAVAILABLE])
@pytest.mark.parametrize("second", [[], [TimeoutError()], [api.ServerError("unavailable", "", status=503)]])
def test_a_try_that_may_have_arrived_is_what_is_told(
    first: Exception, second: list[Exception], not_sent: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody takes a later try, the first one's fault is told as well: it may have made the room."""
    monkeypatch.setattr(livekit_nodes, "_PAUSE_S", 0.0)
    with pytest.raises(NotAskedAgain) as caught:
        create_where_a_node_lives(failing([first, *second, not_sent]), time.monotonic() + 5)
    assert (caught.value.fault, caught.value.later) == (first, not_sent)


@pytest.mark.parametrize(
    ("fault", "kind", "told"),
    [
        (TimeoutError(), "timeout", "no answer; asked again: cannot connect: Connection refused"),
        (UNAVAILABLE, "answer", "LiveKit answers with 503 unavailable; asked again: cannot connect: "),
        (Broken("gone"), "broken", "the connection broke: gone; asked again: cannot connect: "),
    ],
)
def test_both_tries_are_told(fault: Exception, kind: str, told: str) -> None:
    """The kind is the first try's, which may have arrived; the words are those of both."""
    explained = explain(NotAskedAgain(fault, NotReached(111, "Connection refused")), 0)
    assert explained.kind == kind
    assert str(explained).startswith(told)


@pytest.mark.parametrize("fault", [NotReached("nothing listens"), ssl.SSLError("no TLS"), Broken("gone")])
def test_a_first_try_that_nobody_took_is_told_as_such(fault: Exception) -> None:
    """Where nothing was asked before, or the connection broke, that is told at once."""
    with pytest.raises(type(fault)) as caught:
        create_where_a_node_lives(failing([fault, UNAVAILABLE]), time.monotonic() + 5)
    assert caught.value is fault


def test_no_pause_goes_beyond_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has little time left does not spend more than that between two tries."""
    monkeypatch.setattr(livekit_nodes, "_PAUSE_S", 60.0)
    began = time.monotonic()
    with pytest.raises(api.ServerError):
        create_where_a_node_lives(failing([UNAVAILABLE]), began + 0.2)
    assert time.monotonic() - began < 10


@pytest.fixture
def fake() -> Iterator[FakeLiveKit]:
    server = FakeLiveKit()
    yield server
    server.close()


@pytest.fixture
def livekit(fake: FakeLiveKit) -> Iterator[LiveKit]:
    client = LiveKit(LiveKitConfig(fake.url, "", "key", "s" * 32, "agent", 5.0))
    yield client
    client.close()


def test_a_server_that_goes_after_a_try_leaves_no_room(
    livekit: LiveKit, fake: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A room is looked for where its creation was not answered and then nothing listened any more."""
    monkeypatch.setattr(livekit_nodes, "_TRY_S", 0.3)
    monkeypatch.setattr(leftovers, "PAUSE_S", 0.05)
    # It keeps a connection, over which the room can be removed while nothing listens.
    livekit.ping()

    def vanish(exchange: Exchange) -> None:
        fake.script = Exchange.serve
        exchange.make_room_in_silence()
        fake.stop_listening()

    fake.script = vanish
    with pytest.raises(LiveKitError) as caught:
        livekit.create_room(ROOM)
    assert caught.value.kind == "timeout"
    assert str(caught.value).startswith("no answer; asked again: cannot connect: ")
    assert fake.deleted.wait(10)
    assert fake.rooms == {}
