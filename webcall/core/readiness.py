"""Whether this worker can serve calls now: LiveKit and every configured backend are asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from webcall.core.livekit import LiveKit
from webcall.interfaces import Pings
from webcall.logs import describe

log = structlog.stdlib.get_logger("webcall.readiness")

KEPT_S = 1.0

Answer = Literal["ok", "degraded", "down"]


@dataclass(frozen=True, slots=True)
class State:
    """Names of what does not answer, and of what can only just be done without."""

    down: tuple[str, ...]
    degraded: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether calls can be served."""
        return not self.down


class Readiness:
    """Asks everything at once, and keeps the answer for a second."""

    def __init__(
        self,
        livekit: LiveKit,
        backends: Sequence[tuple[str, Any]],
        *,
        patience_s: float,
        tell: Callable[[str, bool], object] = lambda _name, _up: None,
    ) -> None:
        """Take the backends in use by name; a name may stand twice, for its two sides.

        Whoever has not answered within `patience_s` is down. `tell` is called after each check for each
        name, with whether it answered.
        """
        self._tell = tell
        self._patience_s = patience_s
        self._asked = [_Asked("livekit", livekit.ping)]
        self._asked += [
            _Asked(name, backend.ping) for name, backend in backends if isinstance(backend, Pings)
        ]
        self._checking = threading.Lock()
        self._kept: tuple[float, State] | None = None

    def state(self, kept_s: float | None = None) -> State:
        """Return who answers. One check runs at a time; whoever comes meanwhile shares its answer.

        A check that is no older than `kept_s` (else `KEPT_S`) will do.
        """
        with self._checking:
            longest = KEPT_S if kept_s is None else kept_s
            if self._kept is None or time.monotonic() - self._kept[0] > longest:
                state = self._check()
                self._kept = (time.monotonic(), state)
            return self._kept[1]

    def _check(self) -> State:
        for asked in self._asked:
            asked.begin()
        until = time.monotonic() + self._patience_s
        answers = [(asked.name, asked.answer(until)) for asked in self._asked]
        down = dict.fromkeys(name for name, answer in answers if answer == "down")
        degraded = dict.fromkeys(name for name, answer in answers if answer == "degraded")
        for name in dict.fromkeys(name for name, _ in answers):
            self._tell(name, name not in down and name not in degraded)
        return State(tuple(down), tuple(name for name in degraded if name not in down))


class _Asked:
    """One backend's ping, in a thread of its own and never twice at once: it may hang for ever."""

    def __init__(self, name: str, ping: Callable[[], str | None]) -> None:
        self.name = name
        self._ping = ping
        self._thread: threading.Thread | None = None
        self._answer: Answer = "down"

    def begin(self) -> None:
        """Ask, unless the last asking has not come back yet."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._ask, name=f"ping {self.name}", daemon=True)
            self._thread.start()

    def answer(self, until: float) -> Answer:
        """Return the answer; down if there is none at `until` (of the monotonic clock)."""
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                log.warning("not ready", backend=self.name, error="ping has not come back")
                return "down"
        return self._answer

    def _ask(self) -> None:
        try:
            reason = self._ping()
        except Exception as error:
            log.warning("not ready", backend=self.name, **describe(error))
            self._answer = "down"
            return
        if reason:
            log.warning("degraded", backend=self.name, reason=reason)
        self._answer = "degraded" if reason else "ok"
