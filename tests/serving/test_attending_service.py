"""The service with kept connections that threads attend to: under many calls, and at a worker's end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.deployment import Service, bearer, settings, store_records
from tests.support.fake_livekit import Exchange, FakeLiveKit
from tests.support.http import get
from webcall.serving.attended import MOST_AT_ONCE

PATIENCE_S = 30
CALL = "/web_call/get_token"
BODY = b'{"assistant_id": "helper"}'
HEADERS = bearer() | {"Content-Type": "application/json"}
PLACES = 6


@pytest.fixture
def service(
    make_service: Callable[[Mapping[str, str]], Service],
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Callable[..., Service]:
    """Start the service with one worker."""

    def start(**own: str) -> Service:
        config = tmp_path / "config.yaml"
        # On a busy machine it takes seconds until all calls have come.
        config.write_text(yaml.safe_dump(settings(livekit={"timeout_s": PATIENCE_S})))
        records = store_records("env", tmp_path, request)
        own |= {"WEBCALL_WORKERS": "1", "WEBCALL_LIMIT_PER_KEY": "off", "WEBCALL_CONFIG": str(config)}
        return make_service(fake_livekit.environment | records | own)

    return start


@pytest.fixture
def connected() -> Iterator[Callable[[Service], HTTPConnection]]:
    """Make connections that have had an answer, and are kept."""
    with ExitStack() as stack:

        def make(service: Service) -> HTTPConnection:
            connection = HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)
            stack.enter_context(closing(connection))
            connection.request("GET", "/health")
            assert status(connection) == 200
            return connection

        yield make


def status(connection: HTTPConnection) -> int:
    answer = connection.getresponse()
    answer.read()
    return answer.status


def test_kept_connections_beyond_the_threads(
    service: Callable[..., Service],
    fake_livekit: FakeLiveKit,
    connected: Callable[[Service], HTTPConnection],
) -> None:
    """However many wait for LiveKit, all are answered, on the same connections, and `/health` meanwhile."""
    started = service()
    many = 2 * MOST_AT_ONCE
    all_are_here = threading.Barrier(many + 1)

    def wait_for_all(exchange: Exchange) -> None:
        all_are_here.wait(PATIENCE_S)
        exchange.serve()

    clients = [connected(started) for _ in range(many)]
    probe = connected(started)
    fake_livekit.script = wait_for_all
    sockets = [client.sock for client in clients]
    for _ in range(3):
        for client in clients:
            client.request("POST", CALL, BODY, HEADERS)
        probe.request("GET", "/health")
        assert status(probe) == 200
        all_are_here.wait(PATIENCE_S)
        assert [status(client) for client in clients] == [200] * many
    assert [client.sock for client in clients] == sockets


def test_a_call_that_waits_gets_the_thread_of_one_that_was_attended_to(
    service: Callable[..., Service],
    fake_livekit: FakeLiveKit,
    connected: Callable[[Service], HTTPConnection],
) -> None:
    """When all places are taken by kept connections, the next call waits, and goes on when one has ended."""
    started = service(WEBCALL_THREADS="8")
    clients, probe = [connected(started) for _ in range(PLACES)], connected(started)
    last = connected(started)
    # A call waits for a second at most, which may be over sooner than this test looks at it.
    for _ in range(5):
        all_are_here, released = threading.Semaphore(0), threading.Event()

        def hang(
            exchange: Exchange, here: threading.Semaphore = all_are_here, go: threading.Event = released
        ) -> None:
            here.release()
            go.wait(PATIENCE_S)
            exchange.serve()

        fake_livekit.script = hang
        for client in clients:
            client.request("POST", CALL, BODY, HEADERS)
        for _ in clients:
            assert all_are_here.acquire(timeout=PATIENCE_S)
        last.request("POST", CALL, BODY, HEADERS)
        probe.request("GET", "/health")
        assert status(probe) == 200
        released.set()
        assert [status(client) for client in clients] == [200] * PLACES
        outcome = status(last)
        if outcome == 200:
            return
        assert outcome == 503
        last.close()
        last = connected(started)
    raise AssertionError("nobody who waits gets a thread")


def test_who_listens_does_not_hold_up_the_end(
    service: Callable[..., Service], connected: Callable[[Service], HTTPConnection]
) -> None:
    """A service that is told to end at once does, whoever is attended to."""
    started = service()
    for _ in range(2):
        connected(started)
    assert started.process is not None
    started.process.send_signal(signal.SIGQUIT)
    assert started.process.wait(15) == 0


def test_a_worker_that_fails_is_replaced(
    service: Callable[..., Service], connected: Callable[[Service], HTTPConnection]
) -> None:
    """One whose main thread has ended, for want of descriptors, attends to nobody any more."""
    started = service()
    assert started.process is not None
    [worker] = psutil.Process(started.process.pid).children()
    client = connected(started)
    worker.rlimit(psutil.RLIMIT_NOFILE, (3, worker.rlimit(psutil.RLIMIT_NOFILE)[1]))
    # Nobody is left when the kept connection has been let go for this one.
    with suppress(OSError):
        get(started.port, "/health")
    worker.wait(15)
    assert connected(started) is not client
