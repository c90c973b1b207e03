"""Answers of a backend, kept for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from structlog.testing import capture_logs

from webcall.core.cache import LONGEST_ID, PAUSE_S, Cache, CachedStore, CachedValidator
from webcall.core.counters import Counters
from webcall.errors import BackendError, RecordError, Refused
from webcall.interfaces import Assistant, CacheSettings, Caller

ALL = CacheSettings(cache_s=10, negative_cache_s=5, stale_if_error_s=100, cache_size=50)
ADA = Caller("ada@example.com")


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Counting:
    """A backend that counts how often it is asked, and answers or raises what a test says."""

    def __init__(self, answer: Any = "record") -> None:
        self.answer = answer
        self.asked = 0
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        with self._lock:
            self.asked += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer() if callable(self.answer) else self.answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """The log's lines."""
    with capture_logs() as lines:
        yield lines


def test_a_record_is_asked_for_once_in_its_time(clock: Clock) -> None:
    """A record serves for `cache_s`, and is asked for anew when that is over."""
    cache, backend = Cache[str](ALL, clock=clock), Counting()
    assert [cache.get("q", backend) for _ in range(3)] == ["record"] * 3
    clock.now += 9.9
    assert cache.get("q", backend) == "record"
    assert backend.asked == 1
    clock.now += 0.2
    backend.answer = "changed"
    assert cache.get("q", backend) == "changed"
    assert backend.asked == 2


@pytest.mark.parametrize("no", [None, Refused("revoked")], ids=["unknown", "refused"])
def test_a_no_is_kept_in_its_own_time(clock: Clock, no: Any) -> None:
    """Unknown and refused are kept for `negative_cache_s`, the refusal with its words."""
    cache, backend = Cache[str](ALL, clock=clock), Counting(no)

    def said() -> Any:
        try:
            return cache.get("q", backend)
        except Refused as refusal:
            return str(refusal)

    expected = None if no is None else "revoked"
    assert [said() for _ in range(3)] == [expected] * 3
    assert backend.asked == 1
    clock.now += 5.1
    backend.answer = "record"
    assert said() == "record"


@pytest.mark.parametrize("failure", [BackendError("down"), RecordError("broken"), ValueError("defect")])
def test_what_is_raised_is_not_kept(clock: Clock, failure: Exception) -> None:
    """An exception reaches whoever asked, and the next one asks again."""
    cache, backend = Cache[str](ALL, clock=clock), Counting(failure)
    for _ in range(3):
        with pytest.raises(type(failure)):
            cache.get("q", backend)
    assert backend.asked == 3


def test_nothing_is_kept_by_default(clock: Clock) -> None:
    """Without settings every question goes to the backend."""
    cache, backend = Cache[str](CacheSettings(), clock=clock), Counting()
    for answer in ("record", None, "record"):
        backend.answer = answer
        assert cache.get("q", backend) == answer
    assert not CacheSettings().keeps


def test_the_last_record_serves_through_an_outage(clock: Clock, logs: list[Any]) -> None:
    """It serves for `stale_if_error_s`, the backend is asked once in a pause, and then the outage shows."""
    counters = Counters()
    cache = Cache[str](ALL, backend="db", side="keys", counters=counters, clock=clock)
    backend = Counting()
    cache.get("q", backend)
    clock.now += 11
    backend.answer = BackendError("down")
    assert [cache.get("q", backend) for _ in range(20)] == ["record"] * 20
    assert backend.asked == 2
    clock.now += PAUSE_S + 0.1
    assert cache.get("q", backend) == "record"
    assert backend.asked == 3
    clock.now += 97
    assert cache.get("q", backend) == "record"
    clock.now += 2
    with pytest.raises(BackendError):
        cache.get("q", backend)
    backend.answer = "new"
    assert cache.get("q", backend) == "new"
    assert [entry["event"] for entry in logs] == [
        "backend fails: kept answers are served",
        "backend answers again",
    ]
    text = counters.exposition().decode()
    assert 'webcall_cache_answers_total{backend="db",result="stale",side="keys"} 22.0' in text


@pytest.mark.parametrize("no", [None, Refused("revoked")], ids=["unknown", "revoked"])
def test_a_no_ends_what_was_kept(clock: Clock, no: Any) -> None:
    """A record that was refused or removed since does not come back in an outage."""
    cache, backend = Cache[str](CacheSettings(stale_if_error_s=100), clock=clock), Counting()
    cache.get("q", backend)
    backend.answer = no
    if no is None:
        assert cache.get("q", backend) is None
    else:
        with pytest.raises(Refused):
            cache.get("q", backend)
    backend.answer = BackendError("down")
    with pytest.raises(BackendError):
        cache.get("q", backend)


def test_a_broken_record_is_no_outage(clock: Clock) -> None:
    """What stood before a record was broken is not served."""
    cache, backend = Cache[str](ALL, clock=clock), Counting()
    cache.get("q", backend)
    clock.now += 11
    backend.answer = RecordError("broken")
    with pytest.raises(RecordError):
        cache.get("q", backend)
    backend.answer = BackendError("down")
    with pytest.raises(BackendError):
        cache.get("q", backend)


def test_an_expired_key_is_not_served(clock: Clock) -> None:
    """A caller whose key ends while it is kept is asked for again at its end."""
    cache, backend = Cache[Caller](ALL, clock=clock), Counting()
    backend.answer = Caller("ada@example.com", expires_at=datetime.now(UTC) + timedelta(hours=1))
    cache.get("q", backend)
    cache.get("q", backend)
    assert backend.asked == 1
    backend.answer = Caller("ada@example.com", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    clock.now += 11
    cache.get("q", backend)
    backend.answer = Refused("expired")
    with pytest.raises(Refused):
        cache.get("q", backend)


def together(threads: int, work: Callable[[int], Any]) -> list[Any]:
    barrier = threading.Barrier(threads)

    def one(number: int) -> Any:
        barrier.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


def test_one_fetch_serves_all_who_wait() -> None:
    """64 threads with the same question cost one fetch, and share what it raises."""
    counters = Counters()
    shared = counters.cache_answers.labels(backend="", side="", result="shared")
    for answer in ("record", BackendError("down")):
        cache, backend = Cache[str](ALL, counters=counters), Counting()
        before, everybody_waits = shared._value.get(), threading.Event()

        def slow(answer: Any = answer, waits: threading.Event = everybody_waits) -> Any:
            assert waits.wait(30)
            if isinstance(answer, Exception):
                raise answer
            return answer

        backend.answer = slow

        def ask(number: int, cache: Any = cache, backend: Any = backend) -> Any:
            try:
                return cache.get("q", backend)
            except BackendError as error:
                return str(error)

        def watch(before: float = before, waits: threading.Event = everybody_waits) -> None:
            while shared._value.get() - before < 63:
                pass
            waits.set()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        assert together(64, ask) == [answer if isinstance(answer, str) else "down"] * 64
        assert backend.asked == 1
        watcher.join(timeout=30)


def test_questions_do_not_wait_for_each_other() -> None:
    """A question is answered while the fetch of another one hangs."""
    cache, let_go = Cache[str](ALL), threading.Event()
    hanging = threading.Thread(target=cache.get, args=("slow", lambda: let_go.wait(30) and None))
    hanging.start()
    try:
        assert cache.get("quick", lambda: "record") == "record"
    finally:
        let_go.set()
        hanging.join(timeout=30)


def test_64_threads_cost_one_fetch_for_each_question() -> None:
    """Many threads with many questions get their own answers, and each question is fetched once."""
    cache = Cache[int](CacheSettings(cache_s=60, cache_size=100))
    backends = [Counting(number) for number in range(50)]

    def work(first: int) -> list[int | None]:
        return [cache.get(n % 50, backends[n % 50]) for n in range(first, first + 200)]

    for first, answers in enumerate(together(64, work)):
        assert answers == [n % 50 for n in range(first, first + 200)]
    assert {backend.asked for backend in backends} == {1}


def test_strangers_push_nobodys_record_out(clock: Clock) -> None:
    """Any number of unknown questions leave the records where they are, and the memory bounded."""
    cache, backend = Cache[str](ALL, clock=clock), Counting()
    cache.get("good", backend)
    for number in range(10_000):
        cache.get(number, lambda: None)
    assert cache.get("good", backend) == "record"
    assert backend.asked == 1
    assert len(cache._noes) == ALL.cache_size


class Backend:
    """Both sides of a backend that remembers its questions."""

    def __init__(self) -> None:
        self.questions: list[Any] = []

    def validate(self, api_key: str) -> Caller | None:
        self.questions.append(api_key)
        return ADA

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        self.questions.append((assistant_id, caller.email))
        return Assistant(assistant_id, caller.email, "pipeline", "", "", {}, None, True, {})


def test_no_key_is_kept_in_plain() -> None:
    """The cache of a validator holds hashes of keys."""
    cache, backend = Cache[Caller](ALL), Backend()
    validator = CachedValidator(backend, cache)
    assert validator.validate("lvk_canary") == validator.validate("lvk_canary") == ADA
    assert backend.questions == ["lvk_canary"]
    assert "canary" not in repr(list(cache._records.items()))


def test_owners_do_not_share_an_assistant() -> None:
    """An answer that one owner got is not given to another one; an endless id is not kept."""
    backend = Backend()
    store = CachedStore(backend, Cache[Assistant](ALL))
    for _ in range(2):
        for owner in ("ada@example.com", "bob@example.com"):
            found = store.get("helper", Caller(owner))
            assert found is not None
            assert found.owner == owner
        store.get("x" * (LONGEST_ID + 1), ADA)
    assert len(backend.questions) == 4


class AgainstModel(RuleBasedStateMachine):
    """The cache beside a model that says what it may answer at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = Cache[int](ALL, clock=self.clock)
        self.stored: dict[str, int | None] = {}
        self.down = False
        # What the backend said last, and when.
        self.said: dict[str, tuple[float, int | None]] = {}
        self.version = 0

    def fetch(self, question: str) -> int | None:
        if self.down:
            raise BackendError("down")
        answer = self.stored.get(question)
        self.said[question] = (self.clock.now, answer)
        return answer

    @rule(question=st.sampled_from("abc"), there=st.booleans())
    def change(self, question: str, there: bool) -> None:
        self.version += 1
        self.stored[question] = self.version if there else None

    @rule(seconds=st.floats(0.1, 60))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        self.down = down

    @rule(question=st.sampled_from("abc"))
    def ask(self, question: str) -> None:
        try:
            answer = self.cache.get(question, lambda: self.fetch(question))
        except BackendError:
            assert self.down
            return
        at, last = self.said[question]
        assert answer == last
        age = self.clock.now - at
        longest = ALL.negative_cache_s if last is None else ALL.cache_s
        if age > longest:
            # Through an outage, or the pause after one.
            assert last is not None
            assert age <= ALL.cache_s + ALL.stale_if_error_s

    @invariant()
    def nothing_is_left_in_flight(self) -> None:
        assert not self.cache._flights


TestAgainstModel = AgainstModel.TestCase
TestAgainstModel.settings = hypothesis_settings(max_examples=60, deadline=None)
