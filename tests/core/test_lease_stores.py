"""Leases in memory and in a real Redis: the same promises."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis

from tests.support.http import at_once
from tests.support.redis import lose_answers
from webcall.core.leases import CLOCK_TOLERANCE_S, Full, LeaseStore, Taken, Wanted
from webcall.core.leases_in_memory import MemoryLeases
from webcall.core.leases_in_redis import RedisLeases

NEW, KEPT = Taken(fresh=True), Taken(fresh=False)


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[LeaseStore]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryLeases()
        return
    leases = RedisLeases(request.getfixturevalue("redis_uri"))
    try:
        yield leases
    finally:
        leases.close()


def wanted(room: str, **changes: Any) -> Wanted:
    """Return a wish for a lease of one key and one address, without limits unless they are given."""
    plain = Wanted(room, "key", None, "192.0.2.1", None, waits_s=60, lasts_s=600)
    return replace(plain, **changes)


def comes_true(what: Callable[[], bool], within_s: float = 5) -> bool:
    """Return whether it does: what a clock ends can only be asked for again."""
    until = time.monotonic() + within_s
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("limit", ["most_calls", "most_waiting"])
def test_the_last_places_go_to_as_many_as_there_are(store: LeaseStore, limit: str) -> None:
    """Of 50 that come at once for the last 3 of 5 places, exactly 3 get one."""
    for room in ("first", "second"):
        assert store.take(wanted(room, **{limit: 5})) == NEW
    answers = at_once(50, lambda number: store.take(wanted(f"room-{number}", **{limit: 5})))
    assert answers.count(NEW) == 3
    full = [answer for answer in answers if isinstance(answer, Full)]
    assert len(full) == 47
    assert all(one.by_calls is (limit == "most_calls") and 55 < one.next_end_s <= 60 for one in full)


def test_keys_and_addresses_are_counted_apart(store: LeaseStore) -> None:
    """A full key or address takes no place from another one; a call counts for both of its own."""
    assert store.take(wanted("a", most_calls=2, most_waiting=1)) == NEW
    assert isinstance(store.take(wanted("b", most_calls=2, most_waiting=1)), Full)
    assert store.take(wanted("c", most_calls=2, most_waiting=1, address="192.0.2.2")) == NEW
    full = store.take(wanted("d", most_calls=2, most_waiting=1, address="192.0.2.3"))
    assert isinstance(full, Full)
    assert full.by_calls
    assert store.take(wanted("e", key="other", most_calls=2)) == NEW


def test_what_was_turned_away_holds_nothing(store: LeaseStore) -> None:
    """A call past the limit of its address does not count for its key."""
    assert store.take(wanted("a", most_waiting=1)) == NEW
    for room in ("b", "c"):
        assert isinstance(store.take(wanted(room, most_calls=1, most_waiting=1)), Full)
    assert store.take(wanted("d", most_calls=1)) == NEW


def test_from_waiting_to_live_to_the_end(store: LeaseStore) -> None:
    """Who joins frees the place of those that wait, and keeps the key's until the room is finished."""
    assert store.take(wanted("a", most_calls=1, most_waiting=1)) == NEW
    store.join("a", 0)
    assert store.take(wanted("b", most_waiting=1)) == NEW
    full = store.take(wanted("c", most_calls=1))
    assert isinstance(full, Full)
    assert 590 < full.next_end_s <= 600, "a live call counts for as long as it may last"
    store.end("a", 0)
    assert store.take(wanted("c", most_calls=1)) == NEW


def test_a_repeat_takes_nothing_twice(store: LeaseStore) -> None:
    """The same room again keeps its lease, waiting or live, though no place is left."""
    for _ in range(3):
        assert store.take(wanted("a", most_calls=2, most_waiting=2)) in (NEW, KEPT)
    assert store.take(wanted("b", most_calls=2, most_waiting=2)) == NEW
    assert store.take(wanted("a", most_calls=2, most_waiting=2)) == KEPT
    store.join("a")
    assert store.take(wanted("a", most_calls=2, most_waiting=2)) == KEPT
    full = store.take(wanted("c", most_calls=2))
    assert isinstance(full, Full)
    store.end("a")
    assert store.take(wanted("a", most_calls=2)) == NEW


def test_what_a_repeat_holds_too(store: LeaseStore) -> None:
    """What came to nothing is given back by the last request for the room; what is live, by nobody."""
    first, repeat = wanted("a", most_calls=1, most_waiting=1), wanted("a", most_calls=1, most_waiting=1)
    for one, other in ((first, repeat), (repeat, first)):
        assert (store.take(first), store.take(repeat)) == (NEW, KEPT)
        for _ in range(2):
            store.give_back(one)
        assert isinstance(store.take(wanted("b", most_calls=1)), Full)
        store.give_back(other)
        assert store.take(wanted("b", most_calls=1, most_waiting=1)) == NEW, "of key and address"
        store.end("b")
    assert store.take(first) == NEW
    store.join("a")
    store.give_back(first)
    assert isinstance(store.take(wanted("b", most_calls=1)), Full)


def test_an_answer_that_is_lost(redis_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease is fresh where redis-py asked again for it, and is not for another request of the room."""
    leases = RedisLeases(redis_uri)
    assert leases.take(wanted("first", most_calls=5)) == NEW, "the script is known to Redis"
    lost = lose_answers(monkeypatch, 1)
    assert leases.take(wanted("a", most_calls=5)) == NEW
    assert lost == [1]
    assert leases.take(wanted("a", most_calls=5)) == KEPT
    leases.close()


def test_a_waiting_lease_ends_by_itself(store: LeaseStore) -> None:
    """Without any event the places are free again when the room would have closed with nobody in it."""
    short = wanted("a", most_calls=1, most_waiting=1, waits_s=0.3)
    assert store.take(short) == NEW
    full = store.take(wanted("b", most_calls=1, most_waiting=1))
    assert isinstance(full, Full)
    assert 0 < full.next_end_s <= 0.3
    assert comes_true(lambda: store.take(wanted("b", most_calls=1, most_waiting=1)) == NEW)


def test_a_live_lease_ends_by_itself(store: LeaseStore) -> None:
    """A call whose end nobody tells counts no longer than it may last, and as long as that."""
    assert store.take(wanted("a", most_calls=1, waits_s=0.05, lasts_s=0.6)) == NEW
    began = time.monotonic()
    store.join("a")
    store.join("a")
    assert comes_true(lambda: store.take(wanted("b", most_calls=1)) == NEW)
    assert 0.55 < time.monotonic() - began < 3


def test_a_room_that_waits_anew(store: LeaseStore) -> None:
    """A repeat that finds the lease of a room waiting lets it wait from now on."""
    assert store.take(wanted("a", most_waiting=1, waits_s=0.2)) == NEW
    assert store.take(wanted("a", most_waiting=1, waits_s=60)) == KEPT
    full = store.take(wanted("b", most_waiting=1))
    assert isinstance(full, Full)
    assert full.next_end_s > 55


def test_events_in_any_order_and_number(store: LeaseStore) -> None:
    """No order of events, repeated or about rooms that nobody knows, leaves a place taken or free twice."""
    events: list[Callable[[], None]] = [
        lambda: store.join("a", 0),
        lambda: store.end("a", 0),
        lambda: store.join("nobody", 0),
        lambda: store.end("nobody"),
    ]
    for order in itertools.permutations([*events, *events[:2]]):
        assert store.take(wanted("a", most_calls=1, most_waiting=1)) == NEW
        for event in order:
            event()
        assert store.take(wanted("b", most_calls=1, most_waiting=1)) == NEW, (
            "the last event of a room frees it"
        )
        store.end("b")


def test_events_about_an_older_room_of_that_name(store: LeaseStore) -> None:
    """A late event about a room that had the name before does not touch the lease of the new one."""
    before = CLOCK_TOLERANCE_S + 10
    assert store.take(wanted("a", most_calls=1, most_waiting=1)) == NEW
    store.join("a", before)
    assert isinstance(store.take(wanted("b", most_waiting=1)), Full)
    store.end("a", before)
    assert isinstance(store.take(wanted("b", most_calls=1)), Full)
    store.end("a", CLOCK_TOLERANCE_S - 10)
    assert store.take(wanted("b", most_calls=1)) == NEW, "LiveKit's clock may have been set meanwhile"


def test_a_key_that_may_have_no_calls(store: LeaseStore) -> None:
    """A limit of 0 turns every call away, and knows of no time at which it ends."""
    assert store.take(wanted("a", most_calls=0)) == Full(by_calls=True, next_end_s=math.inf)


def test_nothing_stays_in_redis(redis_uri: str) -> None:
    """Whatever is kept in Redis has an expiry of its own, and what has ended is gone at once."""
    leases = RedisLeases(redis_uri)
    with redis.Redis.from_url(redis_uri) as client:
        for number in range(3):
            leases.take(wanted(f"room-{number}", most_calls=5, most_waiting=5))
        leases.join("room-0")
        kept = {bytes(name).decode(): client.pttl(name) for name in client.scan_iter("*")}
        assert {name.split(":")[1] for name in kept} == {"lease", "calls", "waiting"}
        assert all(0 < left_ms <= 600_000 for left_ms in kept.values())
        for number in range(3):
            leases.end(f"room-{number}")
        assert list(client.scan_iter("*")) == []
    leases.close()


def test_nothing_stays_in_memory() -> None:
    """What has expired is removed although nobody asks for its key or address again."""
    now = [0.0]
    leases = MemoryLeases(clock=lambda: now[0])
    for number in range(100):
        leases.take(
            wanted(f"room-{number}", key=f"k{number}", address=f"a{number}", most_calls=1, most_waiting=1)
        )
    now[0] = 61
    leases.take(wanted("last", most_calls=1))
    assert list(leases._leases) == ["last"]
    assert list(leases._calls) == ["key"]
    assert list(leases._waiting) == []
