"""Which calls take leases, when they give them back, and what an outage of the storage does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.redis import RedisServer
from webcall.config.settings import CallConfig, LimitsConfig
from webcall.core.leases import LONGEST_S, TOO_MANY_CALLS, TOO_MANY_WAITING, Full, Leases, Taken, Wanted
from webcall.core.leases_in_memory import MemoryLeases
from webcall.core.leases_in_redis import RedisLeases
from webcall.core.room_events import RoomEvent
from webcall.core.storage import PAUSE_S, TIMEOUT_S, StorageHealth
from webcall.errors import BackendError, TooManyCalls, WebCallError
from webcall.interfaces import Caller

CALL = CallConfig(join_window_s=60, departure_timeout_s=20, max_duration_s=3600)
LIMITS = LimitsConfig(
    per_key=None,
    failed_auth_per_address=None,
    publishable_per_address=None,
    publishable_max_concurrent_calls=20,
    waiting_per_address=10,
    storage_uri="memory://",
    required=False,
)
SECRET = Caller("ada@example.com", key_id="lvk_abcd")
PAGE = Caller("ada@example.com", key_id="lvp_abcd", publishable=True)


class Spy(MemoryLeases):
    """Notes what is wanted; fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[Wanted] = []
        self.down = False
        self.asked = 0

    def take(self, wanted: Wanted) -> Taken | Full:
        self.wanted.append(wanted)
        self._reach()
        return super().take(wanted)

    def join(self, room: str, room_age_s: float | None = None) -> None:
        self._reach()
        super().join(room, room_age_s)

    def _reach(self) -> None:
        self.asked += 1
        if self.down:
            raise ConnectionError("redis://:password@host is not there")


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[Any]]:
    """What is logged meanwhile."""
    with capture_logs() as logged:
        yield logged


def leases(store: Any, health: StorageHealth | None = None, **limits: Any) -> Leases:
    return Leases(store, health or StorageHealth(), replace(LIMITS, **limits), CALL)


def place(counted: Leases, room: str, caller: Caller, address: str = "192.0.2.1") -> None:
    with counted.held(room, caller, address, waits_s=120) as lease:
        lease.keep()


@pytest.mark.parametrize(
    ("caller", "limits", "expected"),
    [
        (SECRET, {}, None),
        (replace(SECRET, max_concurrent_calls=2), {}, (2, None)),
        (replace(SECRET, max_concurrent_calls=0), {}, (0, None)),
        (PAGE, {}, (20, 10)),
        (replace(PAGE, max_concurrent_calls=3), {}, (3, 10)),
        (PAGE, {"publishable_max_concurrent_calls": 0}, (None, 10)),
        (PAGE, {"waiting_per_address": 0}, (20, None)),
        (PAGE, {"publishable_max_concurrent_calls": 0, "waiting_per_address": 0}, None),
    ],
)
def test_which_limits_a_key_has(caller: Caller, limits: Any, expected: tuple[Any, Any] | None) -> None:
    """A secret key has the limit of its record alone, a publishable one two; without any nothing is asked."""
    spy = Spy()
    counted = leases(spy, **limits)
    try:
        place(counted, "room", caller)
    except TooManyCalls:
        assert caller.max_concurrent_calls == 0
    assert [(one.most_calls, one.most_waiting) for one in spy.wanted] == (
        [] if expected is None else [expected]
    )


def test_how_long_leases_last() -> None:
    """A room waits a little longer than LiveKit keeps it, a call as long as it may, or a day if for ever."""
    spy = Spy()
    place(leases(spy), "a", PAGE)
    assert 120 < spy.wanted[0].waits_s < 140
    assert spy.wanted[0].lasts_s == CALL.max_duration_s + spy.wanted[0].waits_s
    place(Leases(spy, StorageHealth(), LIMITS, replace(CALL, max_duration_s=0)), "b", PAGE)
    assert spy.wanted[1].lasts_s == LONGEST_S


def test_keys_with_one_id() -> None:
    """Keys of one owner and one id are told apart by what the key ring counts them as."""
    counted = leases(MemoryLeases())
    one = replace(SECRET, max_concurrent_calls=1)
    callers = [
        replace(one, counted_as="1"),
        replace(one, counted_as="2"),
    ]
    for number, caller in enumerate(callers):
        place(counted, f"room-{number}", caller)
        with pytest.raises(TooManyCalls):
            place(counted, "more", caller)


def test_what_is_told_past_a_limit() -> None:
    """The answer says which limit it is, and to come back within a minute."""
    counted = leases(MemoryLeases())
    one = replace(SECRET, max_concurrent_calls=1)
    place(counted, "a", one)
    with pytest.raises(TooManyCalls, match=TOO_MANY_CALLS) as told:
        place(counted, "b", one)
    assert told.value.retry_after_s == 60
    for number in range(10):
        place(counted, f"room-{number}", PAGE)
    with pytest.raises(TooManyCalls, match=TOO_MANY_WAITING):
        place(counted, "c", PAGE)
    with pytest.raises(TooManyCalls) as told:
        place(counted, "d", replace(SECRET, max_concurrent_calls=0))
    assert told.value.retry_after_s == 60


@pytest.mark.parametrize("error", [WebCallError, ValueError, KeyboardInterrupt, None])
def test_a_room_that_did_not_come_to_be(error: type[BaseException] | None) -> None:
    """Its place is free at once, whether its creation failed or another's room had the name."""
    counted = leases(MemoryLeases())
    one = replace(SECRET, max_concurrent_calls=1)

    def fail() -> None:
        with counted.held("a", one, "", waits_s=120):
            if error is not None:
                raise error

    if error is None:
        fail()
    else:
        with pytest.raises(error):
            fail()
    place(counted, "b", one)


def test_a_failed_repeat_takes_nothing_away() -> None:
    """A repeat that fails does not give back what the first request of its room has taken."""
    counted = leases(MemoryLeases())
    one = replace(SECRET, max_concurrent_calls=1)
    place(counted, "a", one)
    with pytest.raises(ValueError), counted.held("a", one, "", waits_s=120):
        raise ValueError
    with pytest.raises(TooManyCalls):
        place(counted, "b", one)


def test_a_request_that_fails_beside_its_repeat() -> None:
    """A request that gives up while a repeat gets its room leaves the place to that."""
    counted = leases(MemoryLeases())
    one = replace(SECRET, max_concurrent_calls=1)
    with counted.held("a", one, "", waits_s=120):
        place(counted, "a", one)
    with pytest.raises(TooManyCalls):
        place(counted, "b", one)


def test_events_that_are_followed() -> None:
    """A person who joins ends the waiting, an assistant does not; the end of the room ends all."""
    counted = leases(MemoryLeases(), waiting_per_address=1, publishable_max_concurrent_calls=2)
    place(counted, "a", PAGE)
    for event in (
        RoomEvent("participant_joined", "a", of_person=False),
        RoomEvent("room_started", "a"),
        RoomEvent("participant_left", "a", of_person=True),
    ):
        counted.on_event(event)
        with pytest.raises(TooManyCalls, match=TOO_MANY_WAITING):
            place(counted, "b", PAGE)
    counted.on_event(RoomEvent("participant_joined", "a", of_person=True))
    place(counted, "b", PAGE)
    with pytest.raises(TooManyCalls, match=TOO_MANY_CALLS):
        place(counted, "c", PAGE, "192.0.2.2")
    counted.on_event(RoomEvent("room_finished", "a"))
    place(counted, "c", PAGE, "192.0.2.2")


def test_an_outage_turns_no_call_away(lines: list[Any]) -> None:
    """While the storage is down calls pass; it is asked once a second, and one line in the log tells."""
    now = [100.0]
    spy = Spy()
    health = StorageHealth(clock=lambda: now[0])
    counted = leases(spy, health)
    spy.down = True
    for number in range(30):
        place(counted, f"room-{number}", replace(PAGE, max_concurrent_calls=1))
    assert spy.asked == 1
    now[0] += PAUSE_S + 0.01
    place(counted, "later", PAGE)
    assert spy.asked == 2
    assert health.failures == 31
    now[0] += PAUSE_S + 0.01
    spy.down = False
    place(counted, "again", replace(PAGE, max_concurrent_calls=1))
    with pytest.raises(TooManyCalls):
        place(counted, "full", replace(PAGE, max_concurrent_calls=1))
    assert [line["log_level"] for line in lines] == ["error", "warning"]
    assert "password" not in str(lines)


def test_an_outage_where_the_storage_is_required() -> None:
    """Calls fail then, as they do when a store is down: never with a 429, and never uncounted."""
    spy = Spy()
    spy.down = True
    counted = leases(spy, StorageHealth(required=True))
    for _ in range(2):
        with pytest.raises(BackendError):
            place(counted, "a", PAGE)
    place(counted, "b", SECRET)


def test_an_event_in_an_outage_is_asked_for_again() -> None:
    """An event that could not be followed is not taken for done."""
    spy = Spy()
    spy.down = True
    with pytest.raises(BackendError):
        leases(spy).on_event(RoomEvent("participant_joined", "a", of_person=True))


def test_a_redis_that_is_gone_and_comes_back(redis_server: RedisServer) -> None:
    """A real Redis that is stopped lets calls pass, and counts them again once it is there."""
    now = [100.0]
    store = RedisLeases(redis_server.uri)
    counted = leases(store, StorageHealth(clock=lambda: now[0]))
    one = replace(SECRET, max_concurrent_calls=1)
    place(counted, "a", one)
    redis_server.stop()
    try:
        place(counted, "b", one)
    finally:
        redis_server.start()
    now[0] += PAUSE_S + 0.01
    place(counted, "c", one)
    with pytest.raises(TooManyCalls):
        place(counted, "d", one)
    store.close()


def test_a_redis_that_hangs(redis_server: RedisServer) -> None:
    """A Redis that takes connections and answers nothing costs one call a bounded time, and the next none."""
    store = RedisLeases(redis_server.uri)
    counted = leases(store)
    one = replace(SECRET, max_concurrent_calls=1)
    began = time.monotonic()
    with redis_server.frozen():
        for number in range(5):
            place(counted, f"room-{number}", one)
    assert time.monotonic() - began < 2 * TIMEOUT_S + 1
    store.close()
