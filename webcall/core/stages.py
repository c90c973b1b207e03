"""How long the stages of a request take: authentication, limits, stores, listings, LiveKit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal, get_args

from prometheus_client import Histogram

Stage = Literal["authentication", "limits", "store", "listing", "livekit"]
Span = Callable[[str], AbstractContextManager[Any]]


class Stages:
    """Times stages; without a histogram it does nothing."""

    def __init__(self, durations: Histogram | None = None, span: Span = nullcontext) -> None:
        """Take a histogram with the label `stage`, and what makes a block of that name a span of a trace."""
        self._durations = durations
        # Looked up once: they are asked for in every request.
        self._children = {stage: durations.labels(stage) for stage in get_args(Stage)} if durations else {}
        self._span = span

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Time the block, whether it returns or raises: a stage that runs into its deadline counts."""
        if self._durations is None:
            yield
            return
        began = time.perf_counter()
        try:
            with self._span(stage):
                yield
        finally:
            self._children[stage].observe(time.perf_counter() - began)


UNTIMED = Stages()
