"""The threads that answer requests."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

import structlog

from webcall.logs import describe

Work = Callable[[], object]

log = structlog.stdlib.get_logger("webcall.serving")


class Threads:
    """Runs what it is given in threads, which it starts as they are needed.

    Work goes to the thread that became free last: what it needs is still in the processor's caches, and of
    many threads that take turns it never is. It belongs to one thread; `shutdown` has to be called.
    `ThreadPoolExecutor` lets them take turns, and makes a future with a condition and two locks for each.
    """

    def __init__(self) -> None:
        # Reentrant: a signal's handler, which ends them all, may come while it is held.
        self._lock = threading.RLock()
        self._waiting: deque[Work] = deque()
        # How each free thread is reached, the last one to become free at the end.
        self._free: list[SimpleQueue[Work | None]] = []
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._too_few = False
        self._closing = False

    def submit(self, work: Work) -> None:
        """Let a thread do it, now, or when one is free where the system gives no more of them.

        It raises nothing, and whoever learns of its end calls `done`. Raises `RuntimeError` if there is no
        thread at all, and has not taken the work then.
        """
        if self._closing:
            # The others are told to end.
            self._start(work)
        else:
            if self._busy >= len(self._threads):
                self._start_another()
            with self._lock:
                if self._free:
                    self._free.pop().put(work)
                else:
                    self._waiting.append(work)
        self._busy += 1

    def done(self) -> None:
        """Take note that one of them is free again."""
        self._busy -= 1

    def shutdown(self, wait: bool = True) -> None:
        """End the threads, each when nothing waits for it; with `wait`, return then."""
        with self._lock:
            self._closing = True
            free, self._free = self._free, []
        for one in free:
            one.put(None)
        threads, self._threads = self._threads, []
        for thread in threads if wait else ():
            thread.join()

    def _start_another(self) -> None:
        try:
            self._start(self._run)
        except RuntimeError as error:
            if not self._too_few:
                log.error("threads cannot be started", running=len(self._threads), **describe(error))
            self._too_few = True
            if not self._threads:
                raise
        else:
            self._too_few = False

    def _start(self, target: Callable[[], object]) -> None:
        thread = threading.Thread(target=target, name=f"request {len(self._threads) + 1}")
        thread.start()
        # Not before: one that cannot be started does nothing, and cannot be waited for.
        self._threads.append(thread)

    def _run(self) -> None:
        own: SimpleQueue[Work | None] = SimpleQueue()
        while (work := self._next(own)) is not None:
            work()

    def _next(self, own: SimpleQueue[Work | None]) -> Work | None:
        """Return what a thread has to do next, when there is something; None: end."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._closing:
                return None
            self._free.append(own)
        return own.get()
