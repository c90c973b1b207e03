"""Which request gets a thread, which one waits for it, and which one is turned away."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal

# A call waits so long for a thread, and then gets 503; see webcall.core.gate, which bounds what is inside.
MAX_WAIT_S = 1.0
# All else waits, too, until a thread is let go by a client that sends half a request.
_OTHERS_WAIT_S = 15.0
# While the call that waits for longest has waited for so long, those who come get their 503 at once.
STANDING_S = 0.25
# Calls that run at once are too many when the main thread learns so late of a request's end.
CROWDED_S = 0.05
_EASE_EVERY_S, _FEWEST_CALLS = 0.1, 64

Kind = Literal["call", "other"]
Admission = Literal["thread", "waits", "turned away"]


class Queues:
    """Counts the threads in use, and keeps those who wait for one: calls apart from all else.

    `take_thread` and `put_back` may be called in any thread, all else in the main one.
    """

    def __init__(self, threads: int, places: int) -> None:
        """Take how many threads there are, and how many of them calls may have."""
        self._threads = threads
        self._places = places
        self._lock = threading.Lock()
        self._running: dict[Kind, int] = {"call": 0, "other": 0}
        # With each connection the moment at which it is turned away.
        self._waiting: dict[Kind, deque[tuple[Any, float]]] = {"call": deque(), "other": deque()}
        self._most_calls: float = places
        self._eased_at = 0.0

    def take_thread(self, kind: Kind) -> bool:
        """Take a thread for a request that has just begun; False if there is none, or others wait for one."""
        with self._lock:
            if any(self._waiting.values()) or not self._has_thread(kind):
                return False
            self._running[kind] += 1
            return True

    def put_back(self, kind: Kind) -> bool:
        """Give a thread back; False if somebody waits, and the main thread has to `give_back` this one."""
        with self._lock:
            if any(self._waiting.values()):
                return False
            self._running[kind] -= 1
            return True

    def admit(self, conn: Any, kind: Kind) -> Admission:
        """Take a thread for a connection whose request has begun, or let it wait for one.

        It is turned away if it would wait for too long.
        """
        with self._lock:
            queue = self._waiting[kind]
            if not queue and self._has_thread(kind):
                self._running[kind] += 1
                return "thread"
            now = time.monotonic()
            if kind == "call" and queue and queue[0][1] < now + MAX_WAIT_S - STANDING_S:
                return "turned away"
            queue.append((conn, now + (MAX_WAIT_S if kind == "call" else _OTHERS_WAIT_S)))
            return "waits"

    def give_up(self, kind: Kind) -> None:
        """Give a thread back that was taken and is not to be had."""
        with self._lock:
            self._running[kind] -= 1

    def give_back(self, kind: Kind, late_s: float, now: float) -> Iterator[tuple[Any, Kind]]:
        """Give a thread back, and give those who get one now, the thread taken for each.

        `late_s` is how late the main thread has learnt that the request is done.
        """
        self._ease(late_s, now)
        self.give_up(kind)
        while (found := self._next()) is not None:
            yield found

    def expired(self, now: float) -> Iterator[Any]:
        """Give those who have waited for too long, out of the queues already."""
        for queue in self._waiting.values():
            while queue and queue[0][1] <= now:
                yield queue.popleft()[0]

    def next_expiry(self, latest: float) -> float:
        """Return the moment at which somebody will have waited for too long, `latest` at the latest."""
        return min([latest, *(queue[0][1] for queue in self._waiting.values() if queue)])

    def _next(self) -> tuple[Any, Kind] | None:
        """Return who has waited for longest and gets a thread, all else before calls; None if nobody does."""
        kind: Kind
        with self._lock:
            for kind in ("other", "call"):
                if self._waiting[kind] and self._has_thread(kind):
                    self._running[kind] += 1
                    return self._waiting[kind].popleft()[0], kind
        return None

    def _has_thread(self, kind: Kind) -> bool:
        """Return whether a thread is free; calls leave some for all else. The lock is held."""
        if sum(self._running.values()) >= self._threads:
            return False
        return kind == "other" or self._running["call"] < self._most_calls

    def _ease(self, late_s: float, now: float) -> None:
        """Let fewer calls run at once where they take the processor from each other, and more where not.

        Where LiveKit is slow they wait, as many as there are places. Where the processor is what is short,
        more threads serve nobody sooner, and keep the main one from those who come. It shows in how late
        that one learns that a request is done.
        """
        if late_s < CROWDED_S:
            self._most_calls = min(self._places, self._most_calls + 1)
        elif now - self._eased_at > _EASE_EVERY_S:
            self._eased_at = now
            self._most_calls = max(min(_FEWEST_CALLS, self._places), self._running["call"] * 0.7)
