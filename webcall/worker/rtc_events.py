"""Sees to it that none of the events of LiveKit's SDK is lost in it.

livekit 1.1.21 hands each event to its subscribers in a loop over their list, in a thread of its own. Where
Python collects garbage just then, `Room.__del__` and `AudioStream.__del__` take their own subscriptions out
of that list, in the same thread, which the lock lets through: the loop passes over the next subscriber, and
a piece of a text, or the answer that somebody waits for, is gone. Seen as a last word that was missing.
"""

from __future__ import annotations

from typing import Any

from livekit.rtc._ffi_client import FfiQueue


def keep_all_events() -> None:
    """Replace the two methods of the SDK's queue, for this process; more than once is as good as once."""
    FfiQueue.put = _put  # type: ignore[method-assign]
    FfiQueue.unsubscribe = _unsubscribe  # type: ignore[method-assign]


def _put(self: FfiQueue[Any], item: Any) -> None:
    with self._lock:
        for queue, loop, wanted in tuple(self._subscribers):
            if wanted is None or wanted(item):
                try:
                    loop.call_soon_threadsafe(queue.put_nowait, item)
                except RuntimeError:
                    # Its loop is closed, and nobody reads it any more.
                    continue


def _unsubscribe(self: FfiQueue[Any], queue: Any) -> None:
    with self._lock:
        for subscriber in tuple(self._subscribers):
            if subscriber[0] is queue:
                # By itself and not by its place, which may be another one's by now.
                self._subscribers.remove(subscriber)
                return
