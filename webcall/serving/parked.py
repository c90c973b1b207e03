"""Connections that hold no thread: what they wait for, and for how long."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any


class Parked:
    """Connections that wait in the poller, each for so long at most, those first that came first."""

    def __init__(self, poller: Any, patience_s: float, readable: Callable[[Any], None]) -> None:
        """Take whom to tell of a connection that has something to say; it is parked no more then."""
        self.patience_s = patience_s
        self._poller = poller
        self._readable = readable
        self._until: dict[Any, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def add(self, conn: Any) -> None:
        """Park a connection, which does not block."""
        self._until[conn] = time.monotonic() + self.patience_s
        self._poller.register(conn.sock, selectors.EVENT_READ, partial(self._tell, conn))

    def _tell(self, conn: Any, _: Any) -> None:
        if self._leave(conn):
            self._readable(conn)

    def _leave(self, conn: Any) -> bool:
        if self._until.pop(conn, None) is None:
            return False
        self._poller.unregister(conn.sock)
        return True

    def expired(self, now: float) -> Iterator[Any]:
        """Give those who have waited for too long, parked no more."""
        while self._until:
            conn, until = next(iter(self._until.items()))
            if until > now:
                return
            self._leave(conn)
            yield conn

    def first_since(self) -> float:
        """Return since when the one that has waited for longest does; infinity if nobody waits."""
        return next(iter(self._until.values()), float("inf")) - self.patience_s

    def longest(self) -> Any | None:
        """Return the one that has waited for longest, parked no more; None if nobody waits."""
        conn = next(iter(self._until), None)
        if conn is not None:
            self._leave(conn)
        return conn

    def hurry(self, patience_s: float) -> None:
        """Let nobody wait for longer than so long from now on."""
        self.patience_s = min(self.patience_s, patience_s)
        latest = time.monotonic() + patience_s
        for conn, until in self._until.items():
            self._until[conn] = min(until, latest)
