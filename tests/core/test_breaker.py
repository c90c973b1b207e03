"""The circuit breaker in front of LiveKit: who is let through, and how it finds LiveKit back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Gauge

from tests.support.fake_livekit import Exchange, FakeLiveKit
from webcall.config import LiveKitConfig
from webcall.core.breaker import MOST_FAILURES
from webcall.core.livekit import LiveKit, LiveRoom, NewRoom
from webcall.errors import LiveKitError

TIMEOUT_S = 1.0
# Pings begin every half second; the rest is for a machine that is busy.
BACK_S = 5


@pytest.fixture
def gauge() -> Gauge:
    return Gauge("away", "Of the tests.", registry=CollectorRegistry())


@pytest.fixture
def livekit(fake_livekit: FakeLiveKit, gauge: Gauge) -> Iterator[LiveKit]:
    client = LiveKit(LiveKitConfig(fake_livekit.url, "", "key", "s" * 32, "agent", TIMEOUT_S), gauge)
    yield client
    client.close()


def create(livekit: LiveKit, name: str = "helper_00000000") -> LiveRoom:
    return livekit.create_room(NewRoom(name, '{"nonce": "ours"}', "agent", "{}", 120, 20))


def kind_of_failure(livekit: LiveKit, name: str = "helper_00000000") -> str:
    with pytest.raises(LiveKitError) as caught:
        create(livekit, name)
    return caught.value.kind


def fail_at_once(livekit: LiveKit, count: int = MOST_FAILURES) -> list[str]:
    """Fail so many requests at the same time, as callers who all wait for a LiveKit that hangs."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda number: kind_of_failure(livekit, f"helper_{number}"), range(count)))


def until_closed(livekit: LiveKit) -> None:
    """Wait until a request is let through and answered."""
    deadline = time.monotonic() + BACK_S
    while (outcome := outcome_of_request(livekit)) != "ok":
        assert outcome == "away"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def outcome_of_request(livekit: LiveKit) -> str:
    try:
        create(livekit, "helper_back")
    except LiveKitError as error:
        return error.kind
    return "ok"


def hang(_: Exchange) -> None:
    """Take the request, and say nothing."""


def test_a_hanging_livekit_costs_the_first_callers_only(
    livekit: LiveKit, fake_livekit: FakeLiveKit, gauge: Gauge
) -> None:
    """After some time-outs in a row callers get their answer at once, and LiveKit gets pings alone."""
    fake_livekit.script = hang
    assert fail_at_once(livekit) == ["timeout"] * MOST_FAILURES
    assert gauge._value.get() == 1
    asked, began = fake_livekit.count("CreateRoom"), time.monotonic()
    assert [kind_of_failure(livekit) for _ in range(100)] == ["away"] * 100
    assert time.monotonic() - began < TIMEOUT_S
    assert fake_livekit.count("CreateRoom") == asked
    fake_livekit.script = Exchange.serve
    until_closed(livekit)
    assert gauge._value.get() == 0
    for number in range(20):
        assert create(livekit, f"helper_after_{number}").people == 0


def test_the_other_questions_of_callers_are_turned_away_too(
    livekit: LiveKit, fake_livekit: FakeLiveKit
) -> None:
    """A repeat with an Idempotency-Key, which asks for rooms first, does not wait either."""
    fake_livekit.script = hang
    fail_at_once(livekit)
    for ask in (lambda: livekit.rooms(["helper_1"]), lambda: livekit.has_newcomers("helper_1")):
        with pytest.raises(LiveKitError) as caught:
            ask()
        assert caught.value.kind == "away"


def test_a_ping_asks_livekit_itself(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """What /ready and `check` are told is LiveKit's answer, not the breaker's."""

    def rooms_hang(exchange: Exchange) -> None:
        if exchange.method != "CreateRoom":
            exchange.serve()

    fake_livekit.script = hang
    fail_at_once(livekit)
    with pytest.raises(LiveKitError) as caught:
        livekit.ping()
    assert caught.value.kind == "timeout"
    fake_livekit.script = rooms_hang
    livekit.ping()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("400 Bad Request", b'{"code": "invalid_argument", "msg": ""}'),
        ("401 Unauthorized", b'{"code": "unauthenticated", "msg": ""}'),
        ("404 Not Found", b'{"code": "not_found", "msg": ""}'),
    ],
)
def test_what_a_request_caused_is_no_outage(
    livekit: LiveKit, fake_livekit: FakeLiveKit, status: str, body: bytes
) -> None:
    """However many requests LiveKit refuses, the next one is asked for."""
    fake_livekit.script = lambda exchange: exchange.answer(body, status, "application/json")
    kinds = {kind_of_failure(livekit) for _ in range(4 * MOST_FAILURES)}
    assert kinds <= {"refused", "unauthorized"}
    fake_livekit.script = Exchange.serve
    create(livekit)


def test_failures_count_in_a_row(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """An answer between failures begins the count anew: a LiveKit that fails now and then is asked on."""
    for _ in range(3):
        fake_livekit.script = Exchange.reset
        assert {kind_of_failure(livekit) for _ in range(MOST_FAILURES - 1)} == {"broken"}
        fake_livekit.script = Exchange.serve
        create(livekit)


def test_error_statuses_about_one_request(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """A LiveKit that answers one caller with 500 and all else well is never away for longer than a ping."""

    def fail_one(exchange: Exchange) -> None:
        if exchange.method == "CreateRoom" and b"poison" in exchange.body:
            exchange.answer(b"{}", "500 No", "application/json")
        else:
            exchange.serve()

    fake_livekit.script = fail_one
    for _ in range(4 * MOST_FAILURES):
        assert kind_of_failure(livekit, "poison") in ("answer", "away")
    until_closed(livekit)
    assert kind_of_failure(livekit, "poison") == "answer", "it was let through again"


def test_pings_are_answered_and_nothing_else(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """Where LiveKit answers pings and hangs with the rest, one caller at a time waits, the others do not."""
    tried = threading.Event()

    def pings_only(exchange: Exchange) -> None:
        if exchange.method == "ListRooms":
            exchange.serve()
        else:
            tried.set()

    fake_livekit.script = hang
    fail_at_once(livekit)
    tried.clear()
    fake_livekit.script = pings_only
    with ThreadPoolExecutor(1) as pool:
        waiting = trial(pool, livekit, tried)
        assert {kind_of_failure(livekit) for _ in range(20)} == {"away"}
        assert waiting.result() == "timeout"
    assert kind_of_failure(livekit) == "away", "the trial failed: it is open again"
    fake_livekit.script = Exchange.serve
    until_closed(livekit)


def trial(pool: ThreadPoolExecutor, livekit: LiveKit, tried: threading.Event) -> Future[str]:
    """Wait until a request is let through; return what will become of it."""
    deadline = time.monotonic() + BACK_S
    while time.monotonic() < deadline:
        waiting = pool.submit(kind_of_failure, livekit)
        if tried.wait(0.1) or not waiting.done():
            return waiting
    pytest.fail("no request was let through")


def test_a_client_that_is_closed_while_livekit_is_away(livekit: LiveKit, fake_livekit: FakeLiveKit) -> None:
    """Closing ends the pings, and whoever uses the client again begins anew."""
    fake_livekit.script = hang
    fail_at_once(livekit)
    livekit.close()
    assert not any(thread.name == "livekit" for thread in threading.enumerate())
    fake_livekit.script = Exchange.serve
    create(livekit)
