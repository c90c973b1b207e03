"""The parts of a running service: made late, made once, given back."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs

import webcall
from tests.support.fake_livekit import FakeLiveKit
from tests.support.webhooks import event
from webcall.core.endings import Entry
from webcall.core.ledger_in_memory import MemoryLedger
from webcall.core.room_events import RoomEvent
from webcall.core.services import Services
from webcall.errors import BackendError
from webcall.interfaces import Backend, Caller
from webcall.startup import Chosen, Setup, prepare


class Counting:
    """A backend that counts how often it is made and closed."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts
        counts["made"] += 1

    def validate(self, _: str) -> Caller | None:
        return None

    def get(self, *_: Any) -> None:
        return None

    def close(self) -> None:
        self.counts["closed"] += 1


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> Setup:
    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "s" * 32)
    return prepare(Path(__file__).parents[2] / "config.yaml")


def services(setup: Setup, factory: Any) -> Services:
    """Return services whose one validator and store are made by `factory`."""
    chosen = Chosen(Backend("counting", "", None, factory), {})
    return Services(Setup(setup.config, setup.plugins, (chosen,), (chosen,), {}))


def test_backends_are_made_late_once_and_closed(setup: Setup) -> None:
    """Nothing is made before it is needed; many threads at once share one; close() reaches each."""
    counts = {"made": 0, "closed": 0}
    made = services(setup, lambda _: Counting(counts))
    assert counts["made"] == 0
    threads = [threading.Thread(target=lambda: (made.key_ring, made.assistants)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts["made"] == 2
    made.close()
    assert counts["closed"] == 2


def test_one_that_cannot_be_closed_keeps_no_other_open(setup: Setup) -> None:
    """An error in one backend's close() is logged, and the next one is closed all the same."""
    counts = {"made": 0, "closed": 0}

    class Stuck(Counting):
        def close(self) -> None:
            super().close()
            raise RuntimeError("stuck")

    made = services(setup, lambda _: Stuck(counts))
    made.warm_up()
    with capture_logs() as lines:
        made.close()
    assert counts == {"made": 2, "closed": 2}
    assert [(line["event"], line["exception"]) for line in lines] == [
        ("cannot be closed", ["RuntimeError"])
    ] * 2


def test_events_are_judged_by_livekits_clock_from_the_start(setup: Setup) -> None:
    """A process that has placed no call yet follows what a LiveKit sends whose clock is ahead."""
    livekit = FakeLiveKit()
    livekit.ahead_s = 600
    config = replace(setup.config.livekit, url=livekit.url)
    setup = replace(setup, config=replace(setup.config, livekit=config))
    made = services(setup, lambda _: Counting({"made": 0, "closed": 0}))
    followed: list[RoomEvent] = []
    try:
        made.warm_up()
        made.room_events.subscribe(followed.append)
        then = int(time.time()) + 600
        body = json.dumps(event("room_finished", "room") | {"createdAt": str(then)}).encode()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        claims = {"iss": livekit.key, "sha256": digest, "nbf": then, "exp": then + 300}
        made.room_events.receive(body, jwt.encode(claims, livekit.secret, algorithm="HS256"))
        assert [one.room for one in followed] == ["room"]
    finally:
        made.close()
        livekit.close()


def test_the_last_ends_reach_observers(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """An end that is settled only when the process ends is told before its observers are closed."""
    heard: list[str] = []

    class Listening:
        @staticmethod
        @webcall.hookimpl
        def webcall_call_ended(call: webcall.EndedCall) -> None:
            heard.append(call.room_name)

    setup.plugins.manager.register(Listening(), "listening")
    made = services(setup, lambda _: Counting({"made": 0, "closed": 0}))
    ledger = made.ledger
    assert ledger is not None
    with ledger.written(Entry("room", "helper", "ada@example.com", None, False, 1.0), waits_s=60) as written:
        written.keep(repeated=False)

    def lost(*_: Any) -> bool:
        raise ConnectionError("the answer is lost")

    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(MemoryLedger, "settle", lost)
        ledger.on_event(RoomEvent("room_finished", "room", at=5.0))
    assert heard == []
    made.close()
    assert heard == ["room"]
    assert "observer-listening" not in [thread.name for thread in threading.enumerate()]


def test_a_backend_that_cannot_be_made_is_an_outage_for_as_long(setup: Setup) -> None:
    """A factory that fails gives an error without its text, and is tried again."""
    attempts = []

    def factory(_: Any) -> Any:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("password")
        return Counting({"made": 0, "closed": 0})

    made = services(setup, factory)
    made.warm_up()
    with pytest.raises(BackendError) as caught:
        _ = made.key_ring
    assert "password" not in str(caught.value)
    _ = made.key_ring
    made.close()


def test_the_package_gives_what_plugins_need() -> None:
    """`webcall` exports the public interface."""
    wanted = {"hookimpl", "Backend", "Caller", "Assistant", "BackendError", "Refused", "create_app"}
    assert wanted <= set(webcall.__all__)
    assert all(hasattr(webcall, name) for name in webcall.__all__)
