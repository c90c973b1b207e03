"""What is asked of LiveKit on the event loop, pings among it: repeated once, in time, on kept connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from livekit import api

from tests.support.fake_livekit import Exchange, FakeLiveKit
from tests.support.http import at_once
from tests.support.programs import free_port
from webcall.config import LiveKitConfig
from webcall.core.livekit import LiveKit
from webcall.core.livekit_rooms import OpenRooms
from webcall.errors import LiveKitError

TIMEOUT_S = 1.0


def to(url: str) -> LiveKit:
    return LiveKit(LiveKitConfig(url, "", "key", "s" * 32, "agent", TIMEOUT_S))


@pytest.fixture
def livekit(fake_livekit: FakeLiveKit) -> Iterator[LiveKit]:
    client = to(fake_livekit.url)
    yield client
    client.close()


def kept_connections(livekit: LiveKit, fake: FakeLiveKit) -> list[socket.socket]:
    """Let several connections of pings be kept, and return them."""
    together = threading.Barrier(4)

    def answer_together(exchange: Exchange) -> None:
        together.wait(10)
        exchange.serve()

    fake.script = answer_together
    at_once(4, lambda _: livekit.ping())
    assert len(fake.kept) == 4
    return fake.kept


def test_a_connection_that_broke_is_tried_once_more(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """A reset costs one repeat, of which who asks sees nothing."""

    def reset_once(exchange: Exchange) -> None:
        fake_livekit.script = Exchange.serve
        exchange.reset()

    fake_livekit.script = reset_once
    livekit.ping()
    assert fake_livekit.requests == ["ListRooms"] * 2


def test_two_breaks_in_a_row_are_an_error(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """There is one repeat and not more."""
    fake_livekit.script = Exchange.reset
    with pytest.raises(LiveKitError) as caught:
        livekit.ping()
    assert caught.value.kind == "broken"
    assert fake_livekit.count("ListRooms") == 2


def test_several_stale_connections_cost_one_repeat(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """Where all kept connections are closed as they are used, the one repeat takes a new one."""
    stale = kept_connections(livekit, fake_livekit)

    def close_stale(exchange: Exchange) -> None:
        if exchange.connection in stale:
            exchange.reset()
        else:
            exchange.serve()

    fake_livekit.script = close_stale
    livekit.ping()
    assert fake_livekit.count("ListRooms") == 4 + 2


def test_several_half_open_connections_cost_one_its_time(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """A kept connection without a peer costs one question its time; later ones do not ask the others."""
    dead = kept_connections(livekit, fake_livekit)
    fake_livekit.script = lambda exchange: None if exchange.connection in dead else exchange.serve()
    began = time.monotonic()
    with pytest.raises(LiveKitError, match="no answer within 1 s") as caught:
        livekit.ping()
    assert caught.value.kind == "timeout"
    assert 0.9 < time.monotonic() - began < 3
    livekit.ping()


def test_a_silent_server_costs_the_time_that_is_set(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """Whoever waits in a loop of their own waits no longer than threads do."""
    fake_livekit.script = lambda _: None
    began = time.monotonic()
    asked = livekit.submit(lambda client: client.room.list_rooms(api.ListRoomsRequest()))
    with pytest.raises(LiveKitError, match="no answer within 1 s"):
        asked.result(timeout=30)
    assert 0.9 < time.monotonic() - began < 3


def test_what_was_never_sent_is_not_asked_again() -> None:
    """Where nothing listens, that is told, and no repeat of it."""
    livekit = to(f"ws://127.0.0.1:{free_port()}")
    with pytest.raises(LiveKitError) as caught:
        livekit.ping()
    assert caught.value.kind == "unreachable"
    assert "asked again" not in str(caught.value)
    livekit.close()


@pytest.mark.parametrize("ahead_s", [600, -600])
def test_an_answer_tells_the_time(livekit: LiveKit, fake_livekit: FakeLiveKit, ahead_s: int) -> None:
    """A ping hears LiveKit's clock, as calls do, and says that it is far off; the watcher goes by it."""
    fake_livekit.ahead_s = ahead_s
    reason = livekit.ping()
    assert reason is not None
    assert reason.startswith("its clock is ")
    assert abs(livekit.now().timestamp() - time.time() - ahead_s) < 5
    assert abs(OpenRooms(livekit).now() - time.time() - ahead_s) < 5
