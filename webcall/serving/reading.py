"""Requests that are read by a thread, and for how long they may be."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

# A request that has a thread, since its beginning is here, has to be here whole after so long: a large one,
# or one in chunks. Its key was looked at before.
MOST_READING_S = 20.0


class Reading:
    """The connections of such requests, those first that began first. For the main thread."""

    def __init__(self) -> None:
        self._until: dict[Any, float] = {}

    def begin(self, conn: Any) -> None:
        """Take note that a thread gets a connection's request."""
        self._until[conn] = time.monotonic() + MOST_READING_S

    def end(self, conn: Any) -> None:
        """Take note that the thread has done with it."""
        self._until.pop(conn, None)

    def stop(self, now: float) -> None:
        """Read nothing more of those who have sent their request for too long: one that drips has no end.

        Who has been read to the end already is answered as ever; the connection ends behind the answer.
        """
        while self._until:
            conn, until = next(iter(self._until.items()))
            if until > now:
                return
            del self._until[conn]
            with suppress(OSError):
                # The plain socket's: a TLS one's own would send the answer as it is, unciphered.
                socket.socket.shutdown(conn.sock, socket.SHUT_RD)
