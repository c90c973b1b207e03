"""How long the stages of a request take: authentication, limits, stores, listings, LiveKit."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

from prometheus_client import Histogram

Stage = Literal["authentication", "limits", "store", "listing", "livekit"]
Span = Callable[[str], AbstractContextManager[Any]]


class Stages:
    """Times stages; without a histogram it does nothing."""

    def __init__(self, durations: Histogram | None = None, span: Span | None = None) -> None:
        """Take a histogram with the label `stage`, and what makes a block of that name a span of a trace."""
        # Looked up once: they are asked for in every request.
        self._children: dict[Stage, Histogram] = (
            {stage: durations.labels(stage) for stage in get_args(Stage)} if durations else {}
        )
        self._span = span

    def timed(self, stage: Stage) -> AbstractContextManager[Any]:
        """Time the block, whether it returns or raises: a stage that runs into its deadline counts."""
        child = self._children.get(stage)
        if child is None:
            return _NOTHING
        return _Timed(child) if self._span is None else _TimedSpan(child, self._span(stage))


class _Timed:
    """One stage. A class, since a generator's block costs twice as much, several times a request."""

    __slots__ = ("_began", "_child")

    def __init__(self, child: Histogram) -> None:
        self._child = child

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._child.observe(time.perf_counter() - self._began)


class _TimedSpan(_Timed):
    """One stage, and its span."""

    __slots__ = ("_span",)

    def __init__(self, child: Histogram, span: AbstractContextManager[Any]) -> None:
        super().__init__(child)
        self._span = span

    def __enter__(self) -> None:
        super().__enter__()
        self._span.__enter__()

    def __exit__(self, *error: Any) -> bool | None:  # type: ignore[override]  # a span may take the error
        try:
            return self._span.__exit__(*error)
        finally:
            super().__exit__(*error)


_NOTHING = nullcontext()

UNTIMED = Stages()
