"""Threads that the system does not give, and work that comes at the end: nothing is lost by either."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from tests.support.deployment import ROOT, Service, settings, store_records
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import at_once, get
from webcall.serving.threads import Threads

PATIENCE_S = 30

# A plugin of a service that gets one thread for requests, and that one late.
FEW_THREADS = """
import threading

import webcall

start = threading.Thread.start
refused = []


def start_or_not(thread):
    if thread.name.startswith("request ") and (thread.name != "request 1" or len(refused) < 2):
        refused.append(thread.name)
        raise RuntimeError("can't start new thread")
    start(thread)


threading.Thread.start = start_or_not


@webcall.hookimpl
def webcall_call_created(call):
    pass
"""


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Some, ended after the test."""
    made = Threads()
    yield made
    made.shutdown()


@pytest.fixture
def no_more(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Let the system give no more threads, or give them again."""
    given = threading.Thread.start

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    return lambda refused: monkeypatch.setattr(threading.Thread, "start", refuse if refused else given)


def test_work_waits_for_the_threads_there_are(threads: Threads, no_more: Callable[[bool], None]) -> None:
    """Where no thread is to be had beside one, it does all the work; the log tells it once."""
    let_go, done = threading.Event(), [threading.Event() for _ in range(3)]
    threads.submit(lambda: let_go.wait(PATIENCE_S))
    no_more(True)
    with capture_logs() as lines:
        for one in done[:2]:
            threads.submit(one.set)
    assert [(line["event"], line["running"]) for line in lines] == [("threads cannot be started", 1)]
    assert not any(one.is_set() for one in done)
    no_more(False)
    threads.submit(done[2].set)
    assert done[0].wait(PATIENCE_S), "a second thread is there again"
    let_go.set()
    assert all(one.wait(PATIENCE_S) for one in done)


def test_no_thread_at_all(threads: Threads, no_more: Callable[[bool], None]) -> None:
    """Where there is none, work is refused and not done later; when there are threads again, it is taken."""
    refused, taken = threading.Event(), threading.Event()
    no_more(True)
    with capture_logs(), pytest.raises(RuntimeError):
        threads.submit(refused.set)
    no_more(False)
    threads.submit(taken.set)
    assert taken.wait(PATIENCE_S)
    threads.shutdown()
    assert not refused.is_set()


def test_work_that_comes_at_the_end(threads: Threads) -> None:
    """What is submitted after the end was told is done at once, though all other threads are busy."""
    let_go, done = threading.Event(), threading.Event()
    for _ in range(2):
        threads.submit(lambda: let_go.wait(PATIENCE_S))
    threads.shutdown(wait=False)
    threads.submit(done.set)
    assert done.wait(PATIENCE_S / 2)
    assert not let_go.is_set()
    let_go.set()


def test_a_worker_without_threads(
    make_service: Callable[[Mapping[str, str]], Service],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """It says 503 and goes on, and answers as soon as it has a thread, all requests with that one."""
    (tmp_path / "few_threads.py").write_text(FEW_THREADS)
    config = settings(plugins=["plugins.env", "few_threads"])
    config["backends"] = {"env": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    livekit = FakeLiveKit()
    environment: dict[str, Any] = livekit.environment | store_records("env", tmp_path, request)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    service = make_service(
        environment
        | {"WEBCALL_CONFIG": str(tmp_path / "config.yaml"), "PYTHONPATH": path, "WEBCALL_WORKERS": "1"}
    )
    assert at_once(8, lambda _: get(service.port, "/health").status) == [200] * 8
    lines = service.log.read_text()
    assert "threads cannot be started" in lines
    assert "requests are turned away" in lines
    assert lines.count("Booting worker") == 1
    livekit.close()
