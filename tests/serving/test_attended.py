"""Kept connections that are answered by the threads that wait for them: nobody is lost on the way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.support.deployment import Service, bearer, settings, store_records
from tests.support.fake_livekit import Exchange, FakeLiveKit
from webcall.serving.attended import MOST_AT_ONCE, Attended
from webcall.serving.queues import Queues

PATIENCE_S = 30


class Attendants:
    """Threads that attend to connections, and what they did: each answer waits for `go`."""

    def __init__(self, at_once: int = 1) -> None:
        self.began: SimpleQueue[Any] = SimpleQueue()
        self.elsewhere: SimpleQueue[tuple[Any, bool | None]] = SimpleQueue()
        self.go: SimpleQueue[bool | Exception | None] = SimpleQueue()
        self.attended = Attended(
            PATIENCE_S, self.answer, lambda conn, kept: self.elsewhere.put((conn, kept)), at_once
        )

    def answer(self, conn: Any) -> bool | None:
        """Read what has come, and answer as the test says."""
        conn.sock.recv(100)
        self.began.put(conn)
        result = self.go.get(timeout=PATIENCE_S)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def connect() -> Iterator[Callable[[], tuple[socket.socket, Any]]]:
    """Make connections: the client's end, and what a worker has of it."""
    with ExitStack() as stack:

        def make() -> tuple[socket.socket, Any]:
            client, served = (stack.enter_context(end) for end in socket.socketpair())
            served.setblocking(False)
            return client, SimpleNamespace(sock=served)

        yield make


@pytest.fixture
def attendants(connect: Callable[[], tuple[socket.socket, Any]]) -> Iterator[Attendants]:
    """Two threads: one answers, and the other one listens. They end before the connections do."""
    made = Attendants()
    yield made
    list(made.attended.close())


def test_one_request_after_the_other(
    attendants: Attendants, connect: Callable[[], tuple[socket.socket, Any]]
) -> None:
    """A connection that is kept is waited for again, and one that is not is given back."""
    client, conn = connect()
    assert attendants.attended.add(conn)
    for kept in (True, True, False):
        client.sendall(b"request")
        assert attendants.began.get(timeout=PATIENCE_S) is conn
        attendants.go.put(kept)
    assert attendants.elsewhere.get(timeout=PATIENCE_S) == (conn, False)
    assert len(attendants.attended) == 0
    assert attendants.attended.add(conn), "it may come back"


def test_the_last_one_that_is_free_listens(
    attendants: Attendants, connect: Callable[[], tuple[socket.socket, Any]]
) -> None:
    """While all others answer, what comes goes to the main thread at once, and new ones are not taken."""
    (first, busy), (second, waiting) = connect(), connect()
    for conn in (busy, waiting):
        assert attendants.attended.add(conn)
    first.sendall(b"request")
    attendants.began.get(timeout=PATIENCE_S)
    assert not attendants.attended.add(connect()[1])
    second.sendall(b"request")
    assert attendants.elsewhere.get(timeout=PATIENCE_S) == (waiting, None)
    assert waiting.sock.recv(100) == b"request"
    attendants.go.put(True)


def test_an_answer_that_fails_ends_no_thread(
    attendants: Attendants, connect: Callable[[], tuple[socket.socket, Any]]
) -> None:
    """The connection is given back to be closed, and the next one is answered."""
    for _ in range(3):
        client, conn = connect()
        assert attendants.attended.add(conn)
        client.sendall(b"request")
        attendants.go.put(RuntimeError("a bug"))
        assert attendants.elsewhere.get(timeout=PATIENCE_S) == (conn, False)


def test_the_main_thread_takes_them_back(
    attendants: Attendants, connect: Callable[[], tuple[socket.socket, Any]]
) -> None:
    """Those whose time is up, the one that waits for longest, and all at the end: each of them once."""
    pairs = [connect() for _ in range(4)]
    conns = [conn for _, conn in pairs]
    for conn in conns:
        assert attendants.attended.add(conn)
    assert list(attendants.attended.expired(0.0)) == []
    assert attendants.attended.longest() is conns[0]
    pairs[1][0].sendall(b"request")
    assert attendants.began.get(timeout=PATIENCE_S) is conns[1]
    assert list(attendants.attended.close()) == conns[2:]
    attendants.go.put(True)
    assert attendants.elsewhere.get(timeout=PATIENCE_S) == (conns[1], True)
    assert not attendants.attended.add(conns[0])
    assert list(attendants.attended.expired(float("inf"))) == []


def test_without_threads_nobody_is_attended_to(
    connect: Callable[[], tuple[socket.socket, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any the main one has all connections; a single one listens, and answers nothing."""
    start = threading.Thread.start
    given: list[threading.Thread] = []

    def start_few(thread: threading.Thread) -> None:
        if len(given) == few:
            raise RuntimeError("can't start new thread")
        given.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    few = 0
    attendants = Attendants(at_once=4)
    client, conn = connect()
    assert not attendants.attended.add(conn)
    few = 1
    assert attendants.attended.add(conn)
    client.sendall(b"request")
    assert attendants.elsewhere.get(timeout=PATIENCE_S) == (conn, None)
    list(attendants.attended.close())


def test_who_waits_for_a_thread_gets_one_of_these() -> None:
    """A thread is not put back past somebody who waits for one: the main thread has to give it on."""
    queues = Queues(threads=1, places=1)
    assert queues.take_thread("call")
    assert queues.put_back("call")
    assert queues.take_thread("call")
    assert not queues.take_thread("other")
    assert queues.admit("who waits", "other") == "waits"
    assert not queues.put_back("call")
    assert list(queues.give_back("call", 0.0, 0.0)) == [("who waits", "other")]
    assert not queues.take_thread("call"), "it has been given"


@pytest.fixture
def service(
    make_service: Callable[[Mapping[str, str]], Service],
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Service:
    config = tmp_path / "config.yaml"
    # On a busy machine it takes seconds until all calls have come.
    config.write_text(yaml.safe_dump(settings(livekit={"timeout_s": PATIENCE_S})))
    records = store_records("env", tmp_path, request)
    own = {"WEBCALL_WORKERS": "1", "WEBCALL_LIMIT_PER_KEY": "off", "WEBCALL_CONFIG": str(config)}
    return make_service(fake_livekit.environment | records | own)


def test_kept_connections_beyond_the_threads(service: Service, fake_livekit: FakeLiveKit) -> None:
    """However many wait for LiveKit, all are answered, on the same connections, and `/health` meanwhile."""
    body = b'{"assistant_id": "helper"}'
    headers = bearer() | {"Content-Type": "application/json"}
    many = 2 * MOST_AT_ONCE
    all_are_here = threading.Barrier(many + 1)

    def wait_for_all(exchange: Exchange) -> None:
        all_are_here.wait(PATIENCE_S)
        exchange.serve()

    def connected(stack: ExitStack) -> HTTPConnection:
        connection = HTTPConnection("127.0.0.1", service.port, timeout=PATIENCE_S)
        return stack.enter_context(closing(connection))

    def status(connection: HTTPConnection) -> int:
        answer = connection.getresponse()
        answer.read()
        return answer.status

    with ExitStack() as stack:
        clients = [connected(stack) for _ in range(many)]
        probe = connected(stack)
        fake_livekit.script = wait_for_all
        for _ in range(3):
            for client in clients:
                client.request("POST", "/web_call/get_token", body, headers)
            probe.request("GET", "/health")
            assert status(probe) == 200
            all_are_here.wait(PATIENCE_S)
            assert [status(client) for client in clients] == [200] * many
