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
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection as Session

# The server's own timeout comes first, where the server is well.
GRACE_S = 0.3
_LOOKS_EVERY_S = 0.1


class Deadlines:
    """Watches over the connections of one process, in one thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: dict[int, tuple[Any, float]] = {}
        self._process = 0
        self._closed = self._asleep = False

    @contextmanager
    def over(self, session: Session, until: float) -> Iterator[None]:
        """Watch over a connection inside the block; `until` is in the time of `time.monotonic`."""
        driver = session.connection.driver_connection
        if session.dialect.name != "postgresql":
            # SQLite keeps its own time.
            yield
            return
        self.watch(driver, until)
        try:
            yield
        finally:
            with self._changed:
                self._watched.pop(id(driver), None)

    def watch(self, driver: Any, until: float) -> None:
        """Watch over a connection of the driver until that moment, or until a block over it ends."""
        with self._changed:
            self._start()
            self._watched[id(driver)] = driver, until + GRACE_S
            if self._asleep:
                self._changed.notify_all()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start(self) -> None:
        # After a fork there is no thread, whatever the parent had.
        if self._process != os.getpid():
            self._process, self._closed, self._watched = os.getpid(), False, {}
            threading.Thread(target=self._watch, name="sql deadlines", daemon=True).start()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for each, (driver, until) in list(self._watched.items()):
                    if now > until:
                        # Under the lock: the connection is its block's until that has ended.
                        del self._watched[each]
                        _shut(driver)
                self._asleep = not self._watched
                self._changed.wait(None if self._asleep else _LOOKS_EVERY_S)
                self._asleep = False
            self._process = 0


def _shut(driver: Any) -> None:
    import psycopg

    closed = (OSError, psycopg.Error)
    with contextlib.suppress(*closed), socket.socket(fileno=os.dup(driver.fileno())) as waiting:
        waiting.shutdown(socket.SHUT_RDWR)


def connected(connect: Callable[[], Any], timeout_s: float) -> Any:
    """Return what `connect` returns within that time; raises psycopg's `ConnectionTimeout` if it does not.

    In a thread of its own, which ends a little later by libpq's timeout: that knows whole seconds only,
    two at least.
    """
    import psycopg

    told: Future[Any] = Future()

    def work() -> None:
        try:
            made = connect()
        except BaseException as error:
            if told.set_running_or_notify_cancel():
                told.set_exception(error)
        else:
            if told.set_running_or_notify_cancel():
                told.set_result(made)
            else:
                made.close()

    threading.Thread(target=work, name="sql connecting", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        return told.result(max(0.0, timeout_s))
    if told.cancel():
        raise psycopg.errors.ConnectionTimeout("no connection in time")
    return told.result()
