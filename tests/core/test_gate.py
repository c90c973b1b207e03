"""Calls in flight are bounded below the number of request threads."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from webcall.core import gate as module
from webcall.core.gate import Gate
from webcall.errors import Busy


@pytest.mark.parametrize(("threads", "places"), [(4, 2), (8, 6), (32, 28), (256, 224)])
def test_places(threads: int, places: int) -> None:
    """An eighth of the threads, at least two, is never in a call."""
    assert Gate(threads).places == places


def test_past_the_bound_a_call_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that finds no place gets the first one that becomes free."""
    monkeypatch.setattr(module, "MAX_WAIT_S", 30)
    gate = Gate(4)
    entered, leave = threading.Event(), threading.Event()

    def call() -> None:
        with gate.enter():
            entered.set()
            leave.wait(30)

    with ExitStack() as held:
        held.enter_context(gate.enter())
        with gate.enter():
            waiting = threading.Thread(target=call)
            waiting.start()
            assert not entered.wait(0.2)
        assert entered.wait(10)
        leave.set()
        waiting.join()


def test_a_wait_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a turn, Busy comes after the wait, with the seconds after which to try again."""
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.2)
    gate = Gate(4)
    with gate.enter(), gate.enter():
        began = time.monotonic()
        with pytest.raises(Busy) as caught, gate.enter():
            pass
        assert 0.15 < time.monotonic() - began < 2
        assert caught.value.retry_after_s >= 1
    with gate.enter():
        pass


def test_the_last_free_thread_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all other threads in calls or waiting, the next call is turned away at once."""
    monkeypatch.setattr(module, "MAX_WAIT_S", 30)
    gate = Gate(4)
    with gate.enter(), gate.enter():
        waiting = threading.Thread(target=lambda: gate.enter().__enter__())
        waiting.start()
        while not gate._waiting:
            time.sleep(0.001)
        began = time.monotonic()
        with pytest.raises(Busy), gate.enter():
            pass
        assert time.monotonic() - began < 5
    waiting.join()


def test_a_failed_call_gives_its_place_back() -> None:
    """An error in a call costs no place."""
    gate = Gate(4)
    for _ in range(10):
        with pytest.raises(ValueError, match="in the call"), gate.enter():
            raise ValueError("in the call")
    with gate.enter(), gate.enter():
        pass
