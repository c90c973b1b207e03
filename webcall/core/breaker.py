"""A circuit breaker: while LiveKit is away callers get their answer at once, and a ping finds it back.

Own code for three reasons: pybreaker holds its lock for the whole of a call, so that request threads would
ask LiveKit one after the other; purgatory and aiobreaker let a caller's request find out whether the
server is back, and without a lock let all of them; none leaves that to a ping in the background.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from typing import Literal

import structlog
from prometheus_client import Gauge

from webcall.errors import LiveKitError, LiveKitFault

log = structlog.stdlib.get_logger("webcall.livekit")

MOST_FAILURES = 5
# A ping begins so often, whether the last one has come back or not: one that hangs delays none.
PROBE_PAUSE_S = 0.5
_MOST_PINGS = 10

# LiveKit, or what stands at its address, did not do its work. `unauthorized` and `refused` are answers of
# a LiveKit that is there; what a request's content caused is among them.
AWAY: frozenset[LiveKitFault] = frozenset({"unreachable", "tls", "timeout", "broken", "answer"})
# An error status in a hurry costs a caller nothing, and may be about that one request.
_COSTLY: frozenset[LiveKitFault] = AWAY - {"answer"}

State = Literal["closed", "open", "trying"]


class Breaker:
    """Counts the failures in a row of one LiveKit, in one process. Its methods may be called in any thread.

    - closed: every request is let through; after `MOST_FAILURES` in a row that mean "away" it opens.
    - open: no request is let through. Pings run, and the first answer makes it
    - trying: one request at a time is let through. The first one that LiveKit answers closes it; one that
      hangs or breaks opens it again: LiveKit may answer pings and nothing else.
    """

    def __init__(self, probe: Callable[[float], None], gauge: Gauge | None = None) -> None:
        """Take what begins to ping, after so many seconds and until `answered` was called, and a gauge.

        The gauge is 1 while this breaker is open.
        """
        self._probe = probe
        self._gauge = gauge
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._failures = 0
        self._in_trial = False
        self._opened_at = 0.0
        # Goes on with each opening and each answered ping: a failure of a request that began before
        # tells nothing of now.
        self._epoch = 0

    def guard(self) -> AbstractContextManager[None]:
        """Let a request through, and learn from what becomes of it. Raises `LiveKitError`, kind `away`."""
        return _Guard(self)

    def _enter(self) -> tuple[int, bool]:
        # Read without the lock: the usual request, a success after a success, needs none.
        epoch = self._epoch
        return epoch, self._state != "closed" and self._enter_on_trial()

    def _leave(self, epoch: int, trial: bool, error: BaseException | None) -> None:
        try:
            if isinstance(error, LiveKitError):
                self._failed(error.kind, epoch, trial=trial)
            elif error is None and (self._failures or self._state != "closed"):
                self._succeeded()
        finally:
            if trial:
                self._in_trial = False

    def _enter_on_trial(self) -> bool:
        with self._lock:
            if self._state == "open" or self._in_trial:
                raise LiveKitError("away", "LiveKit is away: not asked; a ping finds out when it is back")
            self._in_trial = self._state == "trying"
            return self._in_trial

    def _succeeded(self) -> None:
        with self._lock:
            if self._state != "open":
                self._state, self._failures = "closed", 0

    def _failed(self, kind: LiveKitFault, epoch: int, *, trial: bool) -> None:
        if kind not in AWAY:
            self._succeeded()
            return
        with self._lock:
            if epoch != self._epoch or self._state == "open":
                return
            self._failures += 1
            again = trial and kind in _COSTLY
            if not again and self._failures < MOST_FAILURES:
                if trial:
                    self._state = "closed"
                return
            failures = self._failures
            self._turn("open")
            self._opened_at = time.monotonic()
        log.error("livekit away", kind=kind, failures=failures)
        self._probe(PROBE_PAUSE_S if again else 0)

    def answered(self) -> None:
        """Take note that LiveKit answers a ping."""
        with self._lock:
            if self._state != "open":
                return
            self._turn("trying")
        log.warning("livekit answers again", away_s=round(time.monotonic() - self._opened_at, 1))

    def reset(self) -> None:
        """Forget everything: the client is closed."""
        with self._lock:
            self._turn("closed")

    def _turn(self, state: State) -> None:
        self._state, self._failures, self._epoch = state, 0, self._epoch + 1
        if self._gauge is not None:
            self._gauge.set(state == "open")


class _Guard:
    """One request. A class, since a generator's block costs twice as much, and every call has one."""

    __slots__ = ("_breaker", "_entered")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker

    def __enter__(self) -> None:
        self._entered = self._breaker._enter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._breaker._leave(*self._entered, error)


async def ping_until_answered(ping: Callable[[], Awaitable[None]]) -> None:
    """Ping every `PROBE_PAUSE_S`, and return when LiveKit answers, whatever it has against the ping.

    `ping` raises `LiveKitError`.
    """
    back = asyncio.Event()

    async def ask() -> None:
        try:
            await ping()
        except LiveKitError as error:
            if error.kind in AWAY:
                return
        back.set()

    running: set[asyncio.Task[None]] = set()
    try:
        while not back.is_set():
            if len(running) < _MOST_PINGS:
                running.add(asked := asyncio.create_task(ask()))
                asked.add_done_callback(running.discard)
            with suppress(TimeoutError):
                await asyncio.wait_for(back.wait(), PROBE_PAUSE_S)
    finally:
        for asked in running:
            asked.cancel()
