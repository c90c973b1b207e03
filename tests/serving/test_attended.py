"""Kept connections that are answered by the threads that wait for them: nobody is lost on the way."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from selectors import DefaultSelector
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.gunicorn_worker import serving
from tests.support.raw_requests import lines
from webcall.serving.attended import Attended, Kept
from webcall.serving.plain_requests import PlainReader
from webcall.serving.queues import Queues

PATIENCE_S = 30
PLAIN = lines("GET /health HTTP/1.1", "Host: x")
LAST = lines("GET /health HTTP/1.1", "Host: x", "Connection: close")
CHUNKED = lines("GET /health HTTP/1.1", "Host: x", "Transfer-Encoding: chunked")


@dataclass(eq=False)
class Connection:
    """What a worker has of a client."""

    sock: socket.socket
    client: Any = ("127.0.0.1", 1)
    server: Any = ("127.0.0.1", 8080)


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
            return client, Connection(served)

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


def test_the_longest_of_both_kinds(connect: Callable[[], tuple[socket.socket, Any]]) -> None:
    """Who makes room is the one that has said nothing for longest, attended to or not."""
    poller = DefaultSelector()
    kept = Kept(poller, PATIENCE_S, lambda conn: None, lambda conn: True, lambda conn, kept: None)
    conns = [connect()[1] for _ in range(4)]
    for conn, add in zip(conns, (kept.attend, kept.add, kept.attend, kept.add), strict=True):
        add(conn)
    assert [kept.longest() for _ in range(5)] == [*conns, None]
    kept.hurry(0)
    poller.close()


@pytest.mark.parametrize(
    ("sent", "outcome"), [(b"", True), (PLAIN, True), (LAST, False), (PLAIN[:-1], None), (CHUNKED, None)]
)
def test_what_a_thread_answers_itself(
    connect: Callable[[], tuple[socket.socket, Any]], sent: bytes, outcome: bool | None
) -> None:
    """A whole plain request; of any other, and of none, nothing is read, and the main thread sees to it."""
    client, conn = connect()
    worker = serving(lambda environ, start: (start("200 OK", [("Content-Length", "5")]), [b"small"])[1])
    worker.plain, worker.queues = PlainReader(worker.cfg), Queues(threads=1, places=1)
    worker.door = SimpleNamespace(is_call=lambda _: False)
    client.sendall(sent)
    assert worker.attend(conn) is outcome
    if outcome is None:
        assert conn.sock.recv(100) == sent
    elif sent:
        assert client.recv(1000).endswith(b"\r\n\r\nsmall")
    assert worker.queues.take_thread("other"), "the thread is free again"
    client.sendall(PLAIN)
    assert worker.attend(conn) is None, "there is no thread now"


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
