"""Tell plugins of calls that were placed, refused or ended, off the request's way.

Each observer has a queue and a thread of its own: one that is slow, or fails, touches neither the
answer nor another observer. The queue is bounded; what does not fit is counted and dropped.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from webcall.errors import BackendError
from webcall.logs import describe
from webcall.observed import CreatedCall, EndedCall, RefusedCall

CREATED, REFUSED, ENDED = "webcall_call_created", "webcall_call_refused", "webcall_call_ended"
MAX_WAITING = 1000
# What is still waiting when the process ends is told within this time, or lost.
CLOSING_S = 2.0
_SLOW_S = 1.0
# Drops are told of no more often than this.
_QUIET_S = 10.0

log = structlog.stdlib.get_logger("webcall.observers")


@dataclass(frozen=True, slots=True)
class Observer:
    """One plugin's hooks: `hooks` are callables by the hook's name, called with the hook's arguments."""

    plugin: str
    hooks: Mapping[str, Callable[..., Any]]


Count = Callable[[str, str], object]
"""Called with the plugin's name and what became of an event: `told`, `failed` or `dropped`."""


def _uncounted(_plugin: str, _result: str) -> None:
    return


class Observers:
    """All observers of one process. Their threads start with the first event, after the fork."""

    def __init__(
        self, observers: Sequence[Observer], max_waiting: int = MAX_WAITING, count: Count = _uncounted
    ) -> None:
        self._lines = [_Line(observer, max_waiting, count) for observer in observers]

    @property
    def there(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._lines)

    def created(self, call: CreatedCall) -> None:
        """Tell of a call that was placed. Returns at once."""
        for line in self._lines:
            line.put(CREATED, {"call": call})

    def refused(self, call: RefusedCall) -> None:
        """Tell of a request that got no call. Returns at once."""
        for line in self._lines:
            line.put(REFUSED, {"reason": call.reason, "call": call})

    def ended(self, call: EndedCall) -> None:
        """Tell of a call that is over. Returns at once."""
        for line in self._lines:
            line.put(ENDED, {"call": call})

    def hear(self, hook: str) -> bool:
        """Return whether any of them implements this hook."""
        return any(hook in line.observer.hooks for line in self._lines)

    def close(self) -> None:
        """Tell what is waiting, for at most two seconds, and end the threads."""
        until = time.monotonic() + CLOSING_S
        for line in self._lines:
            line.end()
        for line in self._lines:
            line.join(until)


class _Line:
    """The queue and thread of one observer."""

    def __init__(self, observer: Observer, max_waiting: int, count: Count) -> None:
        self.observer = observer
        self._count = count
        self._dropped = 0
        self._waiting: queue.Queue[tuple[str, dict[str, Any]] | None] = queue.Queue(max_waiting)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._told_of_drops = -_QUIET_S

    def put(self, hook: str, arguments: dict[str, Any]) -> None:
        if hook not in self.observer.hooks:
            return
        self._start()
        try:
            self._waiting.put_nowait((hook, arguments))
        except queue.Full:
            self._dropped += 1
            self._count(self.observer.plugin, "dropped")
            now = time.monotonic()
            if now - self._told_of_drops >= _QUIET_S:
                self._told_of_drops = now
                log.warning("observer too slow", plugin=self.observer.plugin, dropped=self._dropped)

    def end(self) -> None:
        if self._thread is not None:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                # Its thread is a daemon: what hangs does not keep the process.
                return

    def join(self, until: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0, until - time.monotonic()))
            if left := self._waiting.qsize():
                log.warning("observer not told", plugin=self.observer.plugin, left=left)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                name = f"observer-{self.observer.plugin}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            hook, arguments = event
            began = time.monotonic()
            try:
                self.observer.hooks[hook](**arguments)
            except Exception as error:
                self._count(self.observer.plugin, "failed")
                # The text of other exceptions might quote what a caller sent.
                told = {"error": str(error)} if isinstance(error, BackendError) else {}
                log.error(
                    "observer failed", plugin=self.observer.plugin, hook=hook, **told, **describe(error)
                )
            else:
                self._count(self.observer.plugin, "told")
            took_s = time.monotonic() - began
            if took_s > _SLOW_S:
                log.warning("observer slow", plugin=self.observer.plugin, hook=hook, took_s=round(took_s, 1))
