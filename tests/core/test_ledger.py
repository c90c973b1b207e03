"""The ledger: each call's end is told once, whatever is repeated, lost, down, or used again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from queue import Queue
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from tests.support.http import at_once
from tests.support.redis import RedisServer, lose_answers
from tests.support.webhooks import event, signed
from webcall.config.settings import CallConfig, LiveKitConfig
from webcall.core.endings import Entry, Kept
from webcall.core.leases import CLOCK_TOLERANCE_S
from webcall.core.ledger import Ledger, LedgerStore
from webcall.core.ledger_in_memory import MemoryLedger
from webcall.core.ledger_in_redis import RedisLedger
from webcall.core.room_events import STALE_S, RoomEvent, RoomEvents
from webcall.core.storage import StorageHealth
from webcall.errors import BackendError, LimitsUnavailable
from webcall.observed import EndedCall

CALL = CallConfig(join_window_s=60, departure_timeout_s=20, max_duration_s=3600)
ENTRY = Entry("room", "helper", "ada@example.com", "lvk_1", False, 1000.0)
OTHER = replace(ENTRY, owner="eve@example.com")


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[Any]]:
    """What is logged meanwhile."""
    with capture_logs() as logged:
        yield logged


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[LedgerStore]:
    """An empty store of each kind."""
    if request.param == "memory":
        yield MemoryLedger()
        return
    ledger = RedisLedger(request.getfixturevalue("redis_uri"))
    try:
        yield ledger
    finally:
        ledger.close()


class Told:
    """A ledger, and what it has told."""

    def __init__(self, store: LedgerStore, health: StorageHealth | None = None) -> None:
        self.calls: list[EndedCall] = []
        self.now = time.time()
        self.ledger = Ledger(store, health or StorageHealth(), self.calls.append, CALL, lambda: self.now)

    def place(self, entry: Entry = ENTRY, *, repeated: bool = False) -> None:
        with self.ledger.written(entry, waits_s=120) as written:
            written.keep(repeated=repeated)

    def by(self) -> list[tuple[str, str]]:
        return [(one.owner, one.ended_by) for one in self.calls]


def finished(since: float | None = None) -> RoomEvent:
    return RoomEvent("room_finished", "room", since, at=time.time())


def test_an_entry_comes_back_as_it_was(store: LedgerStore) -> None:
    """A store gives back entry and facts, once; text of any kind and an unknown key id included."""
    odd = replace(ENTRY, room_name="r\u00f6om \u6f22", owner="a b@\u00fc", key_id=None, text_only=True)
    assert store.write(odd, 60, "asker")
    store.note(odd.room_name, {"joined_at": "1", "reason": ""}, None)
    store.note(odd.room_name, {"joined_at": "2", "reason": "x y", "assistant:\u00e4 =": ""}, None)
    kept = store.claim(odd.room_name)
    assert kept is not None
    assert kept.entry == odd
    assert {name: fact.text for name, fact in kept.facts.items()} == {
        "joined_at": "1",
        "reason": "x y",
        "assistant:\u00e4 =": "",
    }
    assert kept.facts["joined_at"].order < kept.facts["reason"].order
    assert store.claim(odd.room_name) is None
    store.note(odd.room_name, {"reason": "late"}, None)
    assert store.claim(odd.room_name) is None


def test_one_of_many_takes_it(store: LedgerStore) -> None:
    """Of many that take an entry at once one gets it, and of many that write it one has written it."""
    assert at_once(20, lambda asker: store.write(ENTRY, 60, str(asker))).count(True) == 1
    taken: list[Kept | None] = at_once(20, lambda _: store.claim("room"))
    assert len([one for one in taken if one is not None]) == 1


def test_an_earlier_room_of_the_name(store: LedgerStore) -> None:
    """What is told of a room that is older than the entry is not followed, within the clocks' tolerance."""
    store.write(ENTRY, 60, "asker")
    before = CLOCK_TOLERANCE_S + 10
    store.note("room", {"reason": "before"}, before)
    assert store.claim("room", before) is None
    kept = store.claim("room", CLOCK_TOLERANCE_S - 10)
    assert kept is not None
    assert kept.facts == {}


def test_what_is_overdue(store: LedgerStore) -> None:
    """What is overdue is given once, no more than asked for at a time, and nothing else."""
    store.write(ENTRY, 60, "asker")
    for number in range(3):
        store.write(replace(ENTRY, room_name=f"due-{number}"), -1, "asker")
    first, second, third = store.claim_overdue(2), store.claim_overdue(2), store.claim_overdue(2)
    assert sorted(one.entry.room_name for one in [*first, *second]) == ["due-0", "due-1", "due-2"]
    assert (len(first), list(third)) == (2, [])
    assert store.claim("room") is not None


def test_nothing_stays_in_redis(redis_uri: str) -> None:
    """Whatever is kept expires by itself, and what was settled leaves nothing but its token, for an hour."""
    ledger = RedisLedger(redis_uri)
    ledger.write(ENTRY, 60, "asker")
    ledger.note("room", {"reason": ""}, None)
    with redis.Redis.from_url(redis_uri) as client:
        kept = {bytes(name).decode(): client.pttl(name) for name in client.scan_iter("*")}
        assert kept.keys() == {"webcall:call:room", "webcall:calls-due"}
        assert all(60_000 < left_ms < 2 * 24 * 3600 * 1000 for left_ms in kept.values())
        kept_one = ledger.claim("room")
        assert kept_one is not None
        kept = {bytes(name).decode(): client.pttl(name) for name in client.scan_iter("*")}
        assert kept.keys() == {f"webcall:call-claim:{kept_one.token}", "webcall:calls-claimed"}
        assert all(0 < left_ms <= 24 * 3600 * 1000 for left_ms in kept.values())
        assert ledger.settle(kept_one.token)
        (settled,) = client.scan_iter("*")
        assert bytes(settled).decode() == f"webcall:call-settled:{kept_one.token}"
        assert 0 < client.pttl(settled) <= 3600 * 1000
    ledger.close()


def test_an_answer_that_is_lost(redis_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Redis gave is given to the same asker again where its answer is lost, and to nobody else."""
    ledger = RedisLedger(redis_uri)
    assert (ledger.claim("room"), ledger.claim_overdue(9)) == (None, []), "the scripts are known to Redis"
    ledger.write(ENTRY, 60, "asker")
    ledger.note("room", {"reason": "x"}, None)
    for number in range(2):
        ledger.write(replace(ENTRY, room_name=f"due-{number}"), -1, "asker")
    lost = lose_answers(monkeypatch, 1)
    kept = ledger.claim("room")
    assert kept is not None
    assert (kept.entry, kept.facts["reason"].text, lost) == (ENTRY, "x", [1])
    assert ledger.claim("room") is None
    lost = lose_answers(monkeypatch, 1)
    assert sorted(one.entry.room_name for one in ledger.claim_overdue(9)) == ["due-0", "due-1"]
    assert lost == [1]
    assert ledger.claim_overdue(9) == []
    ledger.close()


def test_each_end_is_told_once(store: LedgerStore) -> None:
    """A room that was made is told of at its end; events that come again, and strangers', tell nothing."""
    told = Told(store)
    told.place()
    told.place(OTHER, repeated=True)
    for _ in range(3):
        told.ledger.on_event(finished())
        told.ledger.on_event(RoomEvent("room_finished", "stranger", at=time.time()))
    assert told.by() == [("ada@example.com", "nobody_came")]


def test_no_room_no_end(store: LedgerStore) -> None:
    """Of a request that got no room nothing is told, but a repeat that fails takes nothing away."""
    told = Told(store)
    with pytest.raises(ValueError, match="no room"), told.ledger.written(ENTRY, waits_s=120):
        raise ValueError("no room")
    told.ledger.on_event(finished())
    assert told.calls == []
    told.place()
    with pytest.raises(ValueError, match="no room"), told.ledger.written(OTHER, waits_s=120):
        raise ValueError("no room")
    told.ledger.on_event(finished())
    assert told.by() == [("ada@example.com", "nobody_came")]


def test_a_name_that_is_used_again(store: LedgerStore) -> None:
    """A new room of the name of one whose end was never told has an entry of its own, and both are told."""
    told = Told(store)
    told.place()
    told.place(OTHER)
    assert told.by() == [("ada@example.com", "unknown")]
    told.ledger.on_event(finished())
    assert told.by()[1:] == [("eve@example.com", "nobody_came")]


def test_a_repeat_at_the_same_moment(store: LedgerStore) -> None:
    """Of two requests for one room at once, whichever made it, one end is told, and none before."""
    told = Told(store)
    early, late = (replace(ENTRY, created_at=told.now + after_s) for after_s in (0, 0.1))
    with told.ledger.written(early, waits_s=120) as written:
        told.place(late)
        written.keep(repeated=True)
    assert told.calls == []
    told.ledger.on_event(finished())
    assert told.by() == [("ada@example.com", "nobody_came")]


@pytest.mark.parametrize("repeated", [True, False])
def test_a_request_that_fails_beside_its_repeat(store: LedgerStore, repeated: bool) -> None:
    """Who gives up while a repeat gets the room takes no entry from it; if both give up, nothing is told."""
    told = Told(store)
    entry = replace(ENTRY, created_at=told.now)

    with told.ledger.written(entry, waits_s=120):
        told.place(entry, repeated=repeated)
    told.ledger.on_event(finished())
    assert told.by() == [("ada@example.com", "nobody_came")]
    with told.ledger.written(entry, waits_s=120), told.ledger.written(entry, waits_s=120):
        pass
    told.ledger.on_event(finished())
    assert len(told.calls) == 1


def test_an_entry_that_is_written_twice(redis_uri: str) -> None:
    """Where Redis is asked again, since its answer was lost, no end of the call that begins is told."""

    class Twice(RedisLedger):
        def write(self, entry: Entry, lasts_s: float, holder: str) -> bool:
            super().write(entry, lasts_s, holder)
            return super().write(entry, lasts_s, holder)

    told = Told(Twice(redis_uri))
    told.place(replace(ENTRY, created_at=told.now))
    assert told.calls == []
    told.ledger.on_event(finished())
    assert told.by() == [("ada@example.com", "nobody_came")]
    told.ledger.close()


def test_an_entry_whose_answer_is_lost(redis_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that Redis was asked for twice is its asker's, who takes it out where no room is made."""
    told = Told(RedisLedger(redis_uri))
    told.place(replace(ENTRY, room_name="other"))
    lost = lose_answers(monkeypatch, 1, int)
    with pytest.raises(ValueError, match="no room"), told.ledger.written(ENTRY, waits_s=120):
        raise ValueError("no room")
    assert lost == [1]
    told.ledger.on_event(finished())
    assert told.calls == []
    told.ledger.close()


def test_ends_that_livekit_does_not_tell() -> None:
    """They are told when the call must be over, by the next sweep."""
    now = [0.0]
    told = Told(MemoryLedger(clock=lambda: now[0]))
    told.place()
    now[0] = 120 + 3600 + STALE_S - 1
    assert told.ledger.sweep() == 0
    now[0] += 1
    assert told.ledger.sweep() == 1
    assert told.by() == [("ada@example.com", "unknown")]
    assert told.calls[0].length_s is None
    assert told.ledger.sweep() == 0


def test_a_service_that_nobody_calls(store: LedgerStore) -> None:
    """Ends are looked for though neither calls nor events come, until the ledger is closed."""
    store.write(ENTRY, -1, "asker")
    heard = threading.Event()
    ledger = Ledger(store, StorageHealth(), lambda _: heard.set(), CALL).sweeping(every_s=0.01)
    assert heard.wait(30)
    ledger.close()
    for thread in [one for one in threading.enumerate() if one.name == "ledger"]:
        thread.join(30)
        assert not thread.is_alive()


def test_sweeping_goes_on_after_a_failure(store: LedgerStore, lines: list[Any]) -> None:
    """What a sweep raises is logged by its type, and the next sweep tells of what is there then."""
    heard: Queue[str] = Queue()

    def tell(call: EndedCall) -> None:
        heard.put(call.room_name)
        raise RuntimeError("can't start new thread")

    ledger = Ledger(store, StorageHealth(), tell, CALL).sweeping(every_s=0.01)
    for room in ("first", "second"):
        store.write(replace(ENTRY, room_name=room), -1, "asker")
        assert heard.get(timeout=30) == room
    ledger.close()
    failed = [line["exception"] for line in lines if line["event"] == "ends of calls cannot be looked for"]
    assert failed[0] == ["RuntimeError"]


def test_a_clock_of_livekit_that_is_behind(store: LedgerStore) -> None:
    """A call's end is followed though LiveKit's clock is minutes behind this machine's and Redis's."""
    told = Told(store)
    told.place()
    events = RoomEvents(LiveKitConfig("ws://127.0.0.1:7880", "", "APIkey", "s" * 40, "agent", 5))
    events.subscribe(told.ledger.on_event)
    then = int(time.time()) - 4 * 60
    late = event("room_finished", "room", createdAt=str(then))
    late["room"] |= {"creationTime": str(then - 5), "creationTimeMs": str((then - 5) * 1000)}
    events.receive(*signed(late, "APIkey", "s" * 40))
    assert told.by() == [("ada@example.com", "nobody_came")]


def let_claims_run_out(server: RedisServer) -> None:
    with server.client() as client:
        for token in client.zrange("webcall:calls-claimed", 0, -1):
            client.zadd("webcall:calls-claimed", {token: 0})


def test_a_claim_whose_answer_never_comes(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An end that was claimed by one who never knows of it is told by another when the claim has run out."""
    first, second = (Told(RedisLedger(redis_server.uri)) for _ in range(2))
    assert second.ledger.sweep() == 0, "the scripts are known to Redis"
    first.ledger.on_event(finished())
    first.place()
    lost = lose_answers(monkeypatch, 2)
    closing = finished()
    with pytest.raises(BackendError):
        first.ledger.on_event(closing)
    assert len(lost) == 2
    second.ledger.on_event(finished())
    assert second.ledger.sweep() == 0, "the claim holds"
    let_claims_run_out(redis_server)
    assert (second.ledger.sweep(), second.ledger.sweep(), first.ledger.sweep()) == (1, 0, 0)
    assert (first.by(), second.by()) == ([], [("ada@example.com", "nobody_came")])
    assert second.calls[0].ended_at.timestamp() == pytest.approx(closing.at), "when the room closed is kept"
    for one in (first, second):
        one.ledger.close()


def test_overdue_claims_whose_answer_never_comes(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same holds for many that were claimed at once, as many as are asked for at a time."""
    ledger = RedisLedger(redis_server.uri)
    assert ledger.claim_overdue(1) == []
    for number in range(3):
        ledger.write(replace(ENTRY, room_name=f"due-{number}"), -1, "asker")
    lose_answers(monkeypatch, 2)
    with pytest.raises(redis.ConnectionError):
        ledger.claim_overdue(3)
    assert ledger.claim_overdue(3) == []
    let_claims_run_out(redis_server)
    ledger.write(replace(ENTRY, room_name="due-3"), -1, "asker")
    batches = [ledger.claim_overdue(2) for _ in range(3)]
    assert [len(one) for one in batches] == [2, 2, 0]
    tokens = {kept.token for batch in batches for kept in batch}
    assert len(tokens) == 4
    assert sorted(kept.entry.room_name for batch in batches for kept in batch) == [
        f"due-{n}" for n in range(4)
    ]
    assert all(ledger.settle(token) for token in tokens)
    let_claims_run_out(redis_server)
    assert ledger.claim_overdue(9) == []
    ledger.close()


def test_a_settling_whose_answer_never_comes(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever settled a claim and was not answered asks again and tells, once, and nobody else does."""
    now = [0.0]
    first = Told(RedisLedger(redis_server.uri), StorageHealth(clock=lambda: now[0]))
    second = Told(RedisLedger(redis_server.uri))
    first.place(replace(ENTRY, room_name="before"))
    first.ledger.on_event(replace(finished(), room="before"))
    assert first.by() == [("ada@example.com", "nobody_came")], "the scripts are known to Redis"
    first.place()
    lost = lose_answers(monkeypatch, 2, int)
    first.ledger.on_event(finished())
    assert (len(first.calls), len(lost)) == (1, 2)
    assert first.ledger.sweep() == 0, "Redis is left alone for a moment"
    let_claims_run_out(redis_server)
    assert second.ledger.sweep() == 0
    now[0] = 60
    assert (first.ledger.sweep(), first.ledger.sweep(), second.ledger.sweep()) == (1, 0, 0)
    assert (len(first.calls), second.calls) == (2, [])
    for one in (first, second):
        one.ledger.close()


def test_a_process_that_ends_without_an_answer(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever settled a claim, was not answered and ends tells of it before its end, and nobody else does."""
    first, second = (Told(RedisLedger(redis_server.uri)) for _ in range(2))
    first.place(replace(ENTRY, room_name="before"))
    first.ledger.on_event(replace(finished(), room="before"))
    assert first.by() == [("ada@example.com", "nobody_came")], "the scripts are known to Redis"
    first.place()
    lost = lose_answers(monkeypatch, 2, int)
    first.ledger.on_event(finished())
    assert (len(first.calls), len(lost)) == (1, 2)
    first.ledger.close()
    assert first.by() == [("ada@example.com", "nobody_came")] * 2
    let_claims_run_out(redis_server)
    assert second.ledger.sweep() == 0
    second.ledger.close()


def test_a_process_that_ends_without_redis(lines: list[Any]) -> None:
    """Of ends that cannot be settled then, the log says that they may stay untold, and how many they are."""

    class Away(MemoryLedger):
        def settle(self, _token: str) -> bool:
            raise ConnectionError("away")

    told = Told(Away())
    told.place()
    told.ledger.on_event(finished())
    told.ledger.close()
    (left,) = [line for line in lines if line["event"] == "ends of calls may stay untold"]
    assert (left["calls"], told.calls) == (1, [])


def test_a_settling_that_comes_too_late(redis_server: RedisServer) -> None:
    """Whoever could not settle in time does not tell: another process has."""

    class Slow(RedisLedger):
        away = True

        def settle(self, token: str) -> bool:
            if self.away:
                raise redis.ConnectionError("away")
            return super().settle(token)

    now = [0.0]
    store = Slow(redis_server.uri)
    first = Told(store, StorageHealth(clock=lambda: now[0]))
    second = Told(RedisLedger(redis_server.uri))
    first.place()
    first.ledger.on_event(finished())
    let_claims_run_out(redis_server)
    assert second.ledger.sweep() == 1
    store.away, now[0] = False, 60
    assert first.ledger.sweep() == 0
    assert (first.calls, second.by()) == ([], [("ada@example.com", "nobody_came")])
    for one in (first, second):
        one.ledger.close()


def test_an_outage_of_redis(redis_outage: RedisServer) -> None:
    """Calls go on, events are refused until Redis answers, and then the end is told all the same."""
    now = [0.0]
    health = StorageHealth(clock=lambda: now[0])
    told = Told(RedisLedger(redis_outage.uri), health)
    told.place()
    with redis_outage.frozen():
        told.place(replace(OTHER, room_name="unknown"))
        for _ in range(2):
            with pytest.raises(BackendError):
                told.ledger.on_event(finished())
        assert told.ledger.sweep() == 0
    now[0] = 60
    told.ledger.on_event(finished())
    assert told.by() == [("ada@example.com", "nobody_came")]
    required: Any = StorageHealth(required=True)
    redis_outage.stop()
    required = Told(RedisLedger(redis_outage.uri), required)
    with pytest.raises(LimitsUnavailable):
        required.place()
    assert required.ledger.sweep() == 0
    for ledger in (told.ledger, required.ledger):
        ledger.close()
