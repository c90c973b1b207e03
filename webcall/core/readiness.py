"""Whether this worker can serve calls now: LiveKit and every configured backend are asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog

from webcall.core.livekit import LiveKit
from webcall.interfaces import Pings
from webcall.logs import describe

log = structlog.stdlib.get_logger("webcall.readiness")

KEPT_S = 1.0


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

    def __init__(self, livekit: LiveKit, backends: Sequence[tuple[str, Any]]) -> None:
        """Take the backends in use by name; a name may stand twice, for its two sides."""
        self._asked: list[tuple[str, Callable[[], str | None]]] = [("livekit", livekit.ping)]
        self._asked += [(name, backend.ping) for name, backend in backends if isinstance(backend, Pings)]
        self._checking = threading.Lock()
        self._kept: tuple[float, State] | None = None

    def state(self) -> State:
        """Return who answers. One check runs at a time; whoever comes meanwhile shares its answer."""
        with self._checking:
            if self._kept is None or time.monotonic() - self._kept[0] > KEPT_S:
                state = self._check()
                self._kept = (time.monotonic(), state)
            return self._kept[1]

    def _check(self) -> State:
        with ThreadPoolExecutor(max_workers=len(self._asked), thread_name_prefix="ready") as pool:
            answers = list(pool.map(lambda asked: _answer(*asked), self._asked))
        down = dict.fromkeys(name for name, kind in answers if kind == "down")
        degraded = dict.fromkeys(name for name, kind in answers if kind == "degraded")
        return State(tuple(down), tuple(name for name in degraded if name not in down))


def _answer(name: str, ping: Callable[[], str | None]) -> tuple[str, str]:
    try:
        reason = ping()
    except Exception as error:
        log.warning("not ready", backend=name, **describe(error))
        return name, "down"
    if reason:
        log.warning("degraded", backend=name, reason=reason)
        return name, "degraded"
    return name, "ok"
