"""What `check` says of calls that wait, and of a worker's places: told, set, or reckoned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.deployment import MakeApp
from tests.support.listeners import Quiet, serving
from tests.support.programs import free_port
from webcall.core.places import look_at_places


@pytest.fixture
def told(make_app: MakeApp) -> Callable[..., list[str]]:
    """Return what is said of so many calls that wait, ten by default; more are settings of the worker."""
    livekit = {
        "LIVEKIT_URL": "ws://127.0.0.1:1",
        "LIVEKIT_API_KEY": "APItest",
        "LIVEKIT_API_SECRET": "s" * 40,
    }

    def told(*, publishable: bool = True, waiting: int | None = None, **worker: Any) -> list[str]:
        environment = livekit if waiting is None else livekit | {"WEBCALL_LIMIT_WAITING": str(waiting)}
        app = make_app(environment, worker={"metrics_port": 0, "health_port": 0} | worker)
        found = list(look_at_places(app.extensions["webcall"].config, publishable=publishable))
        assert all((one.part, one.status, bool(one.fix)) == ("limits", "warning", True) for one in found)
        return [one.message for one in found]

    return told


@contextmanager
def answering(body: Callable[[], bytes]) -> Iterator[int]:
    """Serve what `body` gives on a free port; give the port."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body())

    with serving(Handler) as port:
        yield port


def test_what_is_set(told: Callable[..., list[str]]) -> None:
    """A worker that is set to take fewer calls than one address may let wait is a warning."""
    for publishable in (True, False):
        assert told(max_calls=9, publishable=publishable) == [
            "one address may have 10 calls wait, which take all 9 places of a worker, by worker.max_calls"
        ]
        [message] = told(max_calls=10, publishable=publishable)
        assert "take all 10 places" in message
        assert told(max_calls=11, publishable=publishable) == []


def test_what_is_advised(told: Callable[..., list[str]]) -> None:
    """With the fix followed nothing is said; one call may wait at any worker, and no limit is no warning."""
    assert told(max_calls=8, waiting=4) == []
    assert told(max_calls=1, waiting=1) == []
    assert told(max_calls=1, waiting=0) == []


def test_what_is_reckoned(told: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a worker counts the cores of where it runs, a container's part of one included."""
    monkeypatch.setenv("NUM_CPUS", "1.5")
    for port in (0, free_port()):
        [message] = told(metrics_port=port)
        assert "take all 6 places that a worker would have with the 1.5 cores" in message
        assert "one elsewhere tells its own" in message
    assert told(publishable=False) == []
    monkeypatch.setenv("NUM_CPUS", "3")
    assert told() == []


def test_what_the_worker_tells(told: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the worker at worker.metrics_port tells counts before what is set, if it is this deployment's."""
    monkeypatch.setenv("NUM_CPUS", "1")
    metrics = b"# HELP x y\nwebcall_worker_most_calls 9.0\nlk_agents_worker_load 0.1\n"
    with answering(lambda: metrics) as port:
        alone = metrics
        metrics += b'webcall_worker_livekit{url="http://127.0.0.1:2"} 1.0\n'
        assert told(metrics_port=port, max_calls=3)[0].endswith(
            "all 3 places of a worker, by worker.max_calls"
        )
        metrics = alone
        [message] = told(metrics_port=port, max_calls=2)
        assert message.endswith(f"take all 9 places of the worker at http://127.0.0.1:{port}")
        metrics = metrics.replace(b"9.0", b"11.0")
        assert told(metrics_port=port, max_calls=2) == []
        metrics = b"an older worker's, or no worker's at all: \xff"
        [message] = told(metrics_port=port, max_calls=2)
        assert message.endswith("all 2 places of a worker, by worker.max_calls")
