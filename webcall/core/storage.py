"""The limits' storage: what is to be done when it does not answer, the same for everything kept in it.

An outage never turns a call away, unless `limits.required` says that it must: what cannot be counted
passes, a line in the log and a counter tell, and the storage is left alone for a moment, so that an
outage costs one call in a second its time and not every one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import structlog

from webcall.core.stages import UNTIMED, Stages
from webcall.errors import LimitsUnavailable
from webcall.logs import describe

if TYPE_CHECKING:
    import redis

T = TypeVar("T")

log = structlog.stdlib.get_logger("webcall.limits")

MEMORY = "memory"
# For one exchange: a call waits for it.
TIMEOUT_S = 0.5
PAUSE_S = 1.0


def in_memory(storage_uri: str) -> bool:
    """Return whether `limits.storage_uri` means this process's own memory."""
    return urlsplit(storage_uri).scheme == MEMORY


def redis_client(storage_uri: str) -> redis.Redis:
    """Return a client for scripts that may run twice. Opens no connection; needs the extra `redis`."""
    import redis

    from webcall.core.redis_in_time import make_pool

    return redis.Redis.from_pool(make_pool(storage_uri))


class LimitsStorage:
    """The storage that `limits.storage_uri` names, asked for /ready and for `flask webcall check`."""

    def __init__(self, storage_uri: str, *, required: bool) -> None:
        """Take the settings. Opens no connection."""
        self._uri = storage_uri
        self._required = required

    @property
    def place(self) -> str:
        """Host and port, for people: the address itself may hold a password."""
        parts = urlsplit(self._uri)
        return f"{parts.hostname}:{parts.port or 6379}"

    def ping(self) -> str | None:
        """Return if it answers; if not, return the reason if calls pass all the same, or else raise."""
        # Where limits are in memory the extra `redis` is not needed.
        import redis

        from webcall.core.redis_in_time import make_pool

        client = redis.Redis.from_pool(make_pool(self._uri, repeats=0))
        try:
            client.ping()
        except redis.RedisError as error:
            if self._required:
                raise
            return f"does not answer: {type(error).__name__}; calls pass uncounted"
        finally:
            client.close()
        return None


class StorageHealth:
    """Knows whether the storage answered last, and says so once when that changes."""

    def __init__(
        self,
        *,
        required: bool = False,
        count: Callable[[], object] = lambda: None,
        stages: Stages = UNTIMED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take whether calls are to fail (503) while it is down, and a monotonic clock in seconds.

        `count` is called for each exchange that was not to be had.
        """
        self._count = count
        self._stages = stages
        self._required = required
        self._clock = clock
        self._lock = threading.Lock()
        self._down = False
        self._again_at = 0.0
        self._drops: list[Callable[[], object]] = []
        self.failures = 0
        """How often it was asked, or left alone, without an answer: what was let through uncounted."""

    def on_drop(self, drop: Callable[[], object]) -> None:
        """Let kept connections be dropped at the beginning of each outage, and at the end."""
        self._drops.append(drop)

    def close(self) -> None:
        """Drop the kept connections, for the end of the process."""
        self._drop_kept()

    def _drop_kept(self) -> None:
        for drop in self._drops:
            with suppress(Exception):
                drop()

    def ask(self, exchange: Callable[[], T], otherwise: T) -> T:
        """Return what `exchange` returns, or `otherwise` while the storage is down.

        Whatever `exchange` raises is taken for an outage: a limit that is reached is an answer and has
        to be returned. Raises `LimitsUnavailable` in an outage if the storage is required.
        """
        if self._may_try():
            try:
                with self._stages.timed("limits"):
                    answer = exchange()
            except Exception as error:
                self.failed(error)
            else:
                self.answered()
                return answer
        with self._lock:
            self.failures += 1
        self._count()
        if self._required:
            raise LimitsUnavailable("limits: the storage does not answer, and limits.required is set")
        return otherwise

    def _may_try(self) -> bool:
        if not self._down:
            return True
        with self._lock:
            # One at a time finds out whether it is back: each costs a request thread its time.
            now = self._clock()
            if not self._down or now < self._again_at:
                return not self._down
            self._again_at = now + PAUSE_S
            return True

    def failed(self, error: Exception) -> None:
        """Note an outage; its first one is logged, by the error's type and without its text."""
        with self._lock:
            first, self._down = not self._down, True
            self._again_at = self._clock() + PAUSE_S
        if first:
            # They may be as dead as the one that failed.
            self._drop_kept()
            effect = "calls get 503 until it answers" if self._required else "calls pass uncounted meanwhile"
            log.error("limits storage down", effect=effect, **describe(error))

    def answered(self) -> None:
        """Note an answer; the first one after an outage is logged."""
        if self._down:
            with self._lock:
                back, self._down = self._down, False
            if back:
                log.warning("limits storage answers again")
