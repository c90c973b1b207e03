"""Calls in flight, bounded below the number of request threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold one place while the block runs. Raises `Busy`."""
        self._take()
        if self._gauge is not None:
            self._gauge.inc()
        try:
            yield
        finally:
            if self._gauge is not None:
                self._gauge.dec()
            with self._free:
                self._in_flight -= 1
                self._free.notify()

    def _take(self) -> None:
        with self._free:
            if self._in_flight >= self.places:
                self._wait()
            self._in_flight += 1

    def _wait(self) -> None:
        if self._in_flight + self._waiting >= self._threads - 1:
            raise Busy(RETRY_AFTER_S)
        self._waiting += 1
        try:
            if not self._free.wait_for(lambda: self._in_flight < self.places, MAX_WAIT_S):
                raise Busy(RETRY_AFTER_S)
        finally:
            self._waiting -= 1


def _places(threads: int) -> int:
    return max(1, threads - max(2, threads // 8))
