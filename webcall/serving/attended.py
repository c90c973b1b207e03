"""Kept connections whose next request is answered by the very thread that hears of it.

Through the main thread a request goes from one thread to another and back, with two turns of the main
loop for it: a twentieth of what a request costs where many ask, more where one does. These threads wait
for all such connections at once, in an epoll of their own, and the system wakes one of them. The last
one that is free answers nothing: it gives what comes to the main thread, so that somebody listens
whatever the others do.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from webcall.serving.parked import Parked

# The connections that ask at the same time of one worker, beyond which its main thread deals with them as
# with all others: so many threads for it, and one that is free.
MOST_AT_ONCE = 16


class Attended:
    """Threads, started as they are needed, and the connections that they wait for.

    `add`, `expired`, `longest` and `close` are for the main thread.
    """

    def __init__(
        self,
        patience_s: float,
        answer: Callable[[Any], bool | None],
        elsewhere: Callable[[Any, bool | None], None],
        at_once: int = MOST_AT_ONCE,
    ) -> None:
        """Take what is called in one of the threads: `answer`, and `elsewhere` with what that returned.

        `answer` says whether a connection can be kept, or None if the main thread has to answer it. A
        connection that is kept is waited for again; of all others `elsewhere` has to tell the main thread.
        """
        self._patience_s = patience_s
        self._answer = answer
        self._elsewhere = elsewhere
        self._most = at_once + 1
        self._epoll = select.epoll()
        self._bell = os.eventfd(0)
        self._epoll.register(self._bell, select.EPOLLIN)
        # Guards all below. Whoever takes a connection out of those that wait has it.
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[Any, float]] = {}
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, conn: Any) -> bool:
        """Wait for a connection, which does not block; False if there is no thread for it."""
        with self._lock:
            if self._closed or self._busy >= self._most - 1 or not (self._threads or self._start_another()):
                return False
            fd = conn.sock.fileno()
            self._waiting[fd] = (conn, time.monotonic() + self._patience_s)
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLONESHOT)
        return True

    def first_since(self) -> float:
        """Return since when the one that has waited for longest does; infinity if nobody waits."""
        with self._lock:
            return next((until for _, until in self._waiting.values()), float("inf")) - self._patience_s

    def expired(self, now: float) -> Iterator[Any]:
        """Give those who have said nothing for too long, waited for no more."""
        while (conn := self._take_first(now)) is not None:
            yield conn

    def longest(self) -> Any | None:
        """Return the one that has said nothing for longest, waited for no more; None if nobody is there."""
        return self._take_first(float("inf"))

    def close(self) -> Iterator[Any]:
        """End the threads, each when its request is answered, and give whom they waited for."""
        with self._lock:
            self._closed = True
        os.eventfd_write(self._bell, 1)
        while (conn := self.longest()) is not None:
            yield conn

    def _take_first(self, until: float) -> Any | None:
        with self._lock:
            fd, (conn, patience) = next(iter(self._waiting.items()), (-1, (None, 0.0)))
            if conn is None or patience > until:
                return None
            del self._waiting[fd]
            self._epoll.unregister(fd)
            return conn

    def _start_another(self) -> bool:
        """Return whether there is one thread more; the lock is held."""
        if len(self._threads) >= self._most:
            return False
        # A daemon: a worker that ends otherwise than by SIGTERM does not wait for those who listen.
        name = f"attendant {len(self._threads) + 1}"
        thread = threading.Thread(target=self._attend, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system gives no more: the main thread has what there are.
            return False
        self._threads.append(thread)
        return True

    def _attend(self) -> None:
        while True:
            [(fd, _)] = self._epoll.poll(maxevents=1)
            if fd == self._bell:
                return
            with self._lock:
                conn, _until = self._waiting.pop(fd, (None, 0.0))
                if conn is None:
                    # The main thread was faster.
                    continue
                self._busy += 1
                answers = self._busy < len(self._threads) or self._start_another()
            kept: bool | None = None
            if answers:
                kept = False
                # What an application lets through ends a connection, and no thread.
                with suppress(BaseException):
                    kept = self._answer(conn)
            self._go_on(fd, conn, kept)

    def _go_on(self, fd: int, conn: Any, kept: bool | None) -> None:
        with self._lock:
            self._busy -= 1
            waits = kept and not self._closed
            if waits:
                self._waiting[fd] = (conn, time.monotonic() + self._patience_s)
        # Without the lock, which others would have to wait for: the main thread may have taken it since.
        with suppress(OSError):
            if waits:
                self._epoll.modify(fd, select.EPOLLIN | select.EPOLLONESHOT)
            else:
                self._epoll.unregister(fd)
        if not waits:
            self._elsewhere(conn, kept)


class Kept(Parked):
    """Connections that may send another request: attended to where that can be, or parked in the poller."""

    def __init__(
        self,
        poller: Any,
        patience_s: float,
        readable: Callable[[Any], None],
        answer: Callable[[Any], bool | None],
        elsewhere: Callable[[Any, bool | None], None],
    ) -> None:
        """Take what `Parked` and `Attended` do."""
        super().__init__(poller, patience_s, readable)
        self._attended = Attended(patience_s, answer, elsewhere) if sys.platform == "linux" else None

    def __len__(self) -> int:
        return super().__len__() + (len(self._attended) if self._attended is not None else 0)

    def attend(self, conn: Any) -> None:
        """Keep a connection of which nothing has been read ahead, and which does not block."""
        if self._attended is None or not self._attended.add(conn):
            self.add(conn)

    def expired(self, now: float) -> Iterator[Any]:
        """Give those who have waited for too long, waited for no more."""
        yield from super().expired(now)
        if self._attended is not None:
            yield from self._attended.expired(now)

    def longest(self) -> Any | None:
        """Return the one that has waited for longest, waited for no more; None if nobody waits."""
        attended = self._attended
        if attended is not None and attended.first_since() < super().first_since():
            return attended.longest()
        return super().longest()

    def first_since(self) -> float:
        """Return since when the one that has waited for longest does; infinity if nobody waits."""
        since = super().first_since()
        return since if self._attended is None else min(since, self._attended.first_since())

    def hurry(self, patience_s: float) -> None:
        """Let nobody wait for longer than so long from now on, and nobody be attended to."""
        if self._attended is not None:
            for conn in self._attended.close():
                self.add(conn)
        super().hurry(patience_s)
