"""The threads that answer requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

import structlog

from webcall.logs import describe

log = structlog.stdlib.get_logger("webcall.serving")


class Threads:
    """Runs what it is given in threads, which it starts as they are needed.

    `ThreadPoolExecutor` makes a future with a condition and two locks for each request, of which nothing is
    wanted: a tenth of what this process did. It belongs to one thread; `shutdown` has to be called.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0
        self._too_few = False
        self._closing = False

    def submit(self, work: Callable[[], object]) -> None:
        """Let a thread do it, now, or when one is free where the system gives no more of them.

        It raises nothing, and whoever learns of its end calls `done`. Raises `RuntimeError` if there is no
        thread at all, and has not taken the work then.
        """
        if self._closing:
            # The others are told to end, each of them by one None in the queue.
            self._start(work)
        else:
            if self._busy >= len(self._threads):
                self._start_another()
            self._work.put(work)
        self._busy += 1

    def done(self) -> None:
        """Take note that one of them is free again."""
        self._busy -= 1

    def shutdown(self, wait: bool = True) -> None:
        """End the threads, each when nothing waits for it; with `wait`, return then."""
        self._closing = True
        threads, self._threads = self._threads, []
        for _ in threads:
            self._work.put(None)
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
        while (work := self._work.get()) is not None:
            work()
