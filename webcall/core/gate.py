"""Calls in flight, bounded below the number of request threads."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from prometheus_client import Gauge

from webcall.errors import Busy

MAX_WAIT_S = 1.0
RETRY_AFTER_S = 1


class Gate:
    """Lets so many calls in that some request threads stay free, whatever LiveKit does.

    Of `threads`, an eighth (at least two) is never in a call. A call that finds no place waits for
    one, at most `MAX_WAIT_S`, unless it stands in the last free thread; then it is `Busy`.
    """

    def __init__(self, threads: int, gauge: Gauge | None = None) -> None:
        """Take the number of request threads, and where to tell how many calls are in flight."""
        self._gauge = gauge
        self._free = threading.Condition()
        self._threads = threads
        self.places = _places(threads)
        """How many calls may be in flight at once."""
        self._in_flight = 0
        self._waiting = 0

    def resize(self, threads: int) -> None:
        """Take `threads` as the number of request threads from now on."""
        with self._free:
            self._threads, self.places = threads, _places(threads)
            self._free.notify_all()

    def enter(self) -> AbstractContextManager[None]:
        """Hold one place while the block runs. Raises `Busy`."""
        return _Place(self)

    def _leave(self) -> None:
        if self._gauge is not None:
            self._gauge.dec()
        with self._free:
            self._in_flight -= 1
            if self._waiting:
                self._free.notify()

    def _take(self) -> None:
        with self._free:
            if self._in_flight >= self.places:
                self._wait()
            self._in_flight += 1
        if self._gauge is not None:
            self._gauge.inc()

    def _wait(self) -> None:
        if self._in_flight + self._waiting >= self._threads - 1:
            raise Busy(RETRY_AFTER_S)
        self._waiting += 1
        try:
            if not self._free.wait_for(lambda: self._in_flight < self.places, MAX_WAIT_S):
                raise Busy(RETRY_AFTER_S)
        finally:
            self._waiting -= 1


class _Place:
    """A place of the gate. A class, since a generator's block costs twice as much, and every call has one."""

    __slots__ = ("_gate",)

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        self._gate._take()

    def __exit__(self, *_: object) -> None:
        self._gate._leave()


def _places(threads: int) -> int:
    return max(1, threads - max(2, threads // 8))
