"""The threads that answer requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Threads:
    """Runs what it is given in threads, which it starts as they are needed.

    `ThreadPoolExecutor` makes a future with a condition and two locks for each request, of which nothing is
    wanted: a tenth of what this process did. It belongs to one thread; `shutdown` has to be called.
    """

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._busy = 0

    def submit(self, work: Callable[[], object]) -> None:
        """Let a thread do it, now. It raises nothing, and whoever learns of its end calls `done`."""
        self._busy += 1
        self._work.put(work)
        if self._busy > len(self._threads):
            name = f"request {len(self._threads) + 1}"
            thread = threading.Thread(target=self._run, name=name)
            self._threads.append(thread)
            thread.start()

    def done(self) -> None:
        """Take note that one of them is free again."""
        self._busy -= 1

    def shutdown(self, wait: bool = True) -> None:
        """End the threads, each when it has done what it does; with `wait`, return then."""
        threads, self._threads = self._threads, []
        for _ in threads:
            self._work.put(None)
        for thread in threads if wait else ():
            thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
