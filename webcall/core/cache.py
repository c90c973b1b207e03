"""Answers of a backend, kept for a while: the same for any backend, outside of it.

Records are kept for `cache_s`, and "no" (unknown or refused) for `negative_cache_s`, in a place of their
own, so that a stranger's questions push nobody's record out. An exception is never kept. One fetch at a
time goes out for a question; whoever asks the same meanwhile gets its answer.

While the backend fails, the last record is given for `stale_if_error_s` more. Then one request in a second
finds out whether it is back, and the others do not wait for it. A record that cannot be used
(`RecordError`) is no outage: what was there before it is not given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import structlog
from cachetools import TLRUCache, TTLCache

from webcall.core.counters import Counters
from webcall.errors import BackendError, RecordError, Refused
from webcall.interfaces import Assistant, AssistantStore, CacheSettings, Caller, KeyValidator
from webcall.logs import describe
from webcall.records import hash_api_key

T = TypeVar("T")

log = structlog.stdlib.get_logger("webcall.cache")

# How long a backend that failed is left alone, where there is something kept to answer with.
PAUSE_S = 1.0
LONGEST_ID = 512
"""A longer id is asked for each time: it is no assistant's, and would fill the memory."""


_NOTHING_SAID: Any = object()


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    record: T
    fresh_until: float
    until: float


class Cache(Generic[T]):
    """The answers of one side of one backend. May be asked from many threads at once."""

    def __init__(
        self,
        settings: CacheSettings,
        *,
        backend: str = "",
        side: str = "",
        counters: Counters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how long answers are kept, what logs and metrics call it, and a monotonic clock in seconds."""
        self._settings = settings
        self._where = {"backend": backend, "side": side}
        self._counters = counters
        self._clock = clock
        self._lock = threading.Lock()
        self._records: TLRUCache[Hashable, _Kept[T]] = TLRUCache(
            settings.cache_size, ttu=lambda _, kept, __: kept.until, timer=clock
        )
        # Of a "no": the words of `Refused`, or None for unknown.
        self._noes: TTLCache[Hashable, str | None] = TTLCache(
            settings.cache_size, ttl=settings.negative_cache_s, timer=clock
        )
        self._flights: dict[Hashable, Future[T | None]] = {}
        self._failing = False
        self._again_at = 0.0

    def get(self, question: Hashable, fetch: Callable[[], T | None]) -> T | None:
        """Return what is kept of the question's answer, or else what `fetch` returns.

        Raises what `fetch` raises, and `Refused` where that is the answer that is kept.
        """
        with self._lock:
            now = self._clock()
            kept = self._usable(question)
            if kept is not None and now < kept.fresh_until:
                self._count("hit")
                return kept.record
            # Asked once: it may run out between two looks.
            said = self._noes.get(question, _NOTHING_SAID)
            if said is not _NOTHING_SAID:
                self._count("hit")
                if said is not None:
                    raise Refused(said)
                return None
            if kept is not None and self._failing:
                if now < self._again_at:
                    self._count("stale")
                    return kept.record
                # This one finds out; whoever comes within the pause does not wait for it.
                self._again_at = now + PAUSE_S
            flight = self._flights.get(question)
            if flight is None:
                self._flights[question] = Future()
        if flight is not None:
            self._count("shared")
            return flight.result()
        self._count("miss")
        try:
            answer = self._ask(question, fetch, kept)
        except BaseException as error:
            # What ends this thread alone is no answer for the others.
            told = error if isinstance(error, Exception) else BackendError("the asking was interrupted")
            self._land(question).set_exception(told)
            raise
        self._land(question).set_result(answer)
        return answer

    def _land(self, question: Hashable) -> Future[T | None]:
        with self._lock:
            return self._flights.pop(question)

    def _ask(self, question: Hashable, fetch: Callable[[], T | None], kept: _Kept[T] | None) -> T | None:
        try:
            answer = fetch()
        except Refused as refusal:
            self._keep_no(question, str(refusal))
            raise
        except RecordError:
            with self._lock:
                self._records.pop(question, None)
            self._answered()
            raise
        except Exception as error:
            if kept is None:
                # One question may fail for itself: it does not hold the others to what is kept.
                raise
            self._failed(error)
            self._count("stale")
            return kept.record
        if answer is None:
            self._keep_no(question, None)
        else:
            self._keep(question, answer)
        return answer

    def _usable(self, question: Hashable) -> _Kept[T] | None:
        kept = self._records.get(question)
        expires_at = getattr(kept.record, "expires_at", None) if kept is not None else None
        return None if expires_at is not None and expires_at <= datetime.now(UTC) else kept

    def _keep(self, question: Hashable, record: T) -> None:
        settings = self._settings
        with self._lock:
            self._noes.pop(question, None)
            fresh_until = self._clock() + settings.cache_s
            self._records[question] = _Kept(record, fresh_until, fresh_until + settings.stale_if_error_s)
        self._answered()

    def _keep_no(self, question: Hashable, words: str | None) -> None:
        with self._lock:
            self._records.pop(question, None)
            self._noes[question] = words
        self._answered()

    def _failed(self, error: Exception) -> None:
        with self._lock:
            begins, self._failing = not self._failing, True
            self._again_at = self._clock() + PAUSE_S
        if begins and self._settings.stale_if_error_s:
            log.warning("backend fails: kept answers are served", **self._where, **describe(error))

    def _answered(self) -> None:
        with self._lock:
            ends, self._failing = self._failing, False
        if ends and self._settings.stale_if_error_s:
            log.info("backend answers again", **self._where)

    def _count(self, result: str) -> None:
        if self._counters is not None:
            self._counters.cache_answers.labels(**self._where, result=result).inc()


class CachedValidator:
    """A validator whose answers are kept, under the hash of each key."""

    def __init__(self, validator: KeyValidator, cache: Cache[Caller]) -> None:
        self._validator = validator
        self._cache = cache

    def validate(self, api_key: str) -> Caller | None:
        """Return whose key it is, as kept or as the validator says."""
        return self._cache.get(hash_api_key(api_key), lambda: self._validator.validate(api_key))


class CachedStore:
    """A store whose answers are kept, for each id and each owner, organisation and login."""

    def __init__(self, store: AssistantStore, cache: Cache[Assistant]) -> None:
        self._store = store
        self._cache = cache

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        """Return the caller's assistant, as kept or as the store says."""
        if len(assistant_id) > LONGEST_ID:
            return self._store.get(assistant_id, caller)
        question = (assistant_id, caller.email, caller.org, caller.subject)
        return self._cache.get(question, lambda: self._store.get(assistant_id, caller))
