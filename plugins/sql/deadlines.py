"""An end to waiting for a server that is silent.

PostgreSQL's `statement_timeout` is kept by the server, which a hung one does not, and the driver has no
timeout of its own for a statement. So one thread watches over the connections that wait, and shuts the
socket of one that has waited for too long: its thread gets an error at once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection as Session

# The server's own timeout comes first, where the server is well.
GRACE_S = 0.3
_LOOKS_EVERY_S = 0.1


class Deadlines:
    """Watches over the connections of one process; its thread lives while there is something to watch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._until: dict[int, float] = {}
        self._process = 0
        self._closed = False

    @contextmanager
    def over(self, session: Session, timeout_s: float) -> Iterator[None]:
        """Watch over a connection inside the block, whose statements may take this long in all."""
        descriptor = _descriptor(session)
        if descriptor is None:
            yield
            return
        with self._changed:
            self._start()
            self._until[descriptor] = time.monotonic() + timeout_s + GRACE_S
        try:
            yield
        finally:
            with self._changed:
                self._until.pop(descriptor, None)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start(self) -> None:
        # After a fork there is no thread, whatever the parent had.
        if self._process != os.getpid():
            self._process, self._closed, self._until = os.getpid(), False, {}
            threading.Thread(target=self._watch, name="sql deadlines", daemon=True).start()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for descriptor, until in list(self._until.items()):
                    if now > until:
                        # Under the lock: the descriptor is this connection's until its block has ended.
                        del self._until[descriptor]
                        _shut(descriptor)
                self._changed.wait(_LOOKS_EVERY_S)
            self._process = 0


def _descriptor(session: Session) -> int | None:
    """Return the socket of a connection to PostgreSQL; None for SQLite, which keeps its own time."""
    driver = session.connection.driver_connection
    found: int | None = driver.fileno() if session.dialect.name == "postgresql" and driver else None
    return found


def _shut(descriptor: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as waiting:
        waiting.shutdown(socket.SHUT_RDWR)
