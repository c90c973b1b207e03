"""Connections that have sent a part of a request, until more of it is there."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

from webcall.serving.parked import Parked

# How often it is looked whose time is up.
LOOK_S = 1.0


class HalfSent(Parked):
    """Parks such connections; a request has `patience_s` in all, however it comes."""

    def __init__(self, poller: Any, patience_s: float, readable: Callable[[Any], None]) -> None:
        super().__init__(poller, patience_s, readable)
        # Until when the rest may come, and how much of it has been seen in the socket.
        self._begun: dict[Any, tuple[float, int]] = {}
        self._next_look = 0.0

    def take(self, conn: Any) -> tuple[float, int]:
        """Return until when the request has to be here, and how much of it was seen; -1: nothing.

        Raises OSError if the connection is broken.
        """
        until, seen = self._begun.pop(conn, (time.monotonic() + self.patience_s, -1))
        if seen >= 0:
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        return until, seen

    def wait_for_more(self, conn: Any, until: float, seen: int) -> None:
        """Park a connection until more lies in its socket than has been seen there.

        Raises OSError if the connection is broken.
        """
        # Or else the poller would tell of what has been seen, again and again.
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
        self._begun[conn] = (until, seen)
        self.add(conn)

    def expired(self, now: float) -> Iterator[Any]:
        """Give those whose time is up, parked no more."""
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        # Among all: who sends a byte now and then is parked anew with each, and stands behind later ones.
        for conn in [conn for conn, (until, _) in self._begun.items() if until <= now]:
            self._leave(conn)
            yield conn
