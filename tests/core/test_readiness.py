"""Who is ready, with pings that hang."""

from __future__ import annotations

import threading
import time
from typing import cast

import pytest

from webcall.core import readiness as module
from webcall.core.livekit import LiveKit
from webcall.core.readiness import Readiness


class Backend:
    """Answers what it is told, or hangs until it is let go."""

    def __init__(self, answer: str | None = None, *, hangs: bool = False) -> None:
        self.answer = answer
        self.pings = 0
        self.let_go = threading.Event()
        if not hangs:
            self.let_go.set()

    def ping(self) -> str | None:
        self.pings += 1
        self.let_go.wait(30)
        return self.answer


def test_an_answer_is_kept_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """No longer, and a bad one too, and one that the metrics asked for, for which an older one will do."""
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    livekit = Backend("its clock is off")
    readiness = Readiness(cast(LiveKit, livekit), [], patience_s=10)
    assert readiness.state(kept_s=10).degraded == ("livekit",)
    livekit.answer = None
    now += module.KEPT_S
    assert readiness.state().degraded == ("livekit",)
    now += 0.01
    assert readiness.state().degraded == ()
    now += 9
    assert readiness.state(kept_s=10).degraded == ()
    assert livekit.pings == 2


def test_a_ping_that_hangs_is_down_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hanging ping costs the patience, not every later probe, and is not asked again while it hangs."""
    monkeypatch.setattr(module, "KEPT_S", 0)
    hanging, degraded = Backend(hangs=True), Backend("old contents")
    livekit = cast(LiveKit, Backend())
    readiness = Readiness(
        livekit, [("slow", hanging), ("file", degraded), ("none", object())], patience_s=0.2
    )
    for _ in range(3):
        began = time.monotonic()
        state = readiness.state()
        assert time.monotonic() - began < 5
        assert (state.down, state.degraded, state.ready) == (("slow",), ("file",), False)
    assert hanging.pings == 1
    hanging.let_go.set()
    deadline = time.monotonic() + 10
    while not readiness.state().ready:
        assert time.monotonic() < deadline
