"""Connections with plain requests and others, in turn and at their ends."""

from __future__ import annotations

import logging
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from gunicorn.workers.gthread import TConn

from tests.support.deployment import KEY, Service, store_records
from tests.support.fake_livekit import FakeLiveKit
from tests.support.gunicorn_worker import serving
from tests.support.raw_requests import lines
from webcall.serving.door import LOOKED_AT
from webcall.serving.plain_answers import answer_plainly
from webcall.serving.plain_requests import PlainReader
from webcall.serving.worker import Worker

PLAIN = lines("GET /health HTTP/1.1", "Host: x")
LAST = lines("GET /health HTTP/1.1", "Host: x", "Connection: close")
BODY = b'{"assistant_id": "helper"}'
CALL = ("POST /web_call/get_token HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}")
JSON = "Content-Type: application/json"
WITH_LENGTH = lines(*CALL, JSON, f"Content-Length: {len(BODY)}") + BODY
CHUNKED = lines(*CALL, JSON, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
LONG = lines("GET /health HTTP/1.1", "Host: x", *("X: " + "a" * LOOKED_AT for _ in range(2)))
UNREAD = lines("GET /health HTTP/1.1", "Host: x", "Content-Length: 5") + b"G / H"


@pytest.fixture
def service(
    make_service: Callable[[Mapping[str, str]], Service],
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Service:
    records = store_records("env", tmp_path, request)
    return make_service(fake_livekit.environment | records | {"WEBCALL_WORKERS": "1"})


def statuses(port: int, *parts: bytes) -> list[bytes]:
    """Send each part when the answer to the one before has begun; return the statuses of all answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        received = b""
        for part in parts:
            client.sendall(part)
            received += client.recv(65536)
        received += b"".join(iter(lambda: client.recv(65536), b""))
    return re.findall(rb"^HTTP/1\.[01] (\d+)", received, re.MULTILINE)


MIXES = {
    "plain": [PLAIN, WITH_LENGTH, UNREAD, PLAIN],
    "gunicorn's between": [PLAIN, CHUNKED, PLAIN, WITH_LENGTH],
    "gunicorn's first": [CHUNKED, WITH_LENGTH, PLAIN],
    "long": [LONG, PLAIN, LONG, WITH_LENGTH],
    "long last": [WITH_LENGTH, LONG],
}


def test_requests_of_both_kinds_follow_each_other(service: Service) -> None:
    """Each has its own answer, whether they come one after the other or all at once."""
    for name, mix in MIXES.items():
        expected = [b"200"] * (len(mix) + 1)
        assert statuses(service.port, *mix, LAST) == expected, name
        assert statuses(service.port, b"".join([*mix, LAST])) == expected, name


RULES = [
    (lines("GET /health HTTP/1.1", "Host: x", *["X: a"] * 97, "Connection: close"), b"200"),
    (lines("GET /health HTTP/1.1", "Host: x", *["X: a"] * 99, "Connection: close"), b"431"),
    (lines("GET /health HTTP/1.1", "X: " + "a" * 65000, "Connection: close"), b"200"),
    (lines("GET /health HTTP/1.1", "X: " + "a" * 66000, "Connection: close"), b"431"),
    (lines(f"GET /{'a' * 9000} HTTP/1.1"), b"414"),
    (lines("GET /health HTTP/1.1", "X: a\0"), b"400"),
    (lines("GET /health HTTP/1.1", "Host: x", "Host: y"), b"400"),
    (lines("GET http://x/health HTTP/1.1", "Host: x", "Connection: close"), b"200"),
    (lines("GET /health HTTP/1.0", "Host: x"), b"200"),
    (LAST, b"200"),
    (b"\r\n" + LAST, b"200"),
    (LAST.replace(b"\r\n", b"\n"), b"400"),
]


def test_what_ends_a_connection(service: Service) -> None:
    """Limits and rules are gunicorn's, and nothing behind the last request, or a refused one, is answered."""
    for sent, status in RULES:
        assert statuses(service.port, sent + PLAIN) == [status], sent[:80]


def answering(content: Iterable[bytes], length: int) -> Any:
    def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", str(length))])
        return content

    return app


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's socket and the service's, between which little is kept."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 300_000))
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(20)
        client.connect(listener.getsockname())
        served, _ = listener.accept()
    with client, served:
        yield client, served


def answer(worker: Worker, served: socket.socket, sent: bytes = PLAIN) -> bool:
    conn = TConn(worker.cfg, served, ("127.0.0.1", 1), ("127.0.0.1", 8080))
    request = PlainReader(worker.cfg).read(sent, conn)
    assert request is not None
    return answer_plainly(worker, request, conn)


LARGE = b"l" * 65536


def test_a_client_that_takes_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """It holds a thread for as long as the socket has patience, and has the connection closed."""
    client, served = pair
    client.sendall(PLAIN)
    assert answer(serving(answering([LARGE], len(LARGE))), served) is False


def test_a_client_that_takes_its_time(pair: tuple[socket.socket, socket.socket]) -> None:
    """What does not go at once goes as the client takes it, all of it and nothing twice."""
    client, served = pair
    client.sendall(PLAIN)
    kept: list[bool] = []
    content = bytes(range(256)) * 256
    thread = threading.Thread(
        target=lambda: kept.append(answer(serving(answering([content], len(content))), served))
    )
    thread.start()
    received = b""
    while not received.endswith(content):
        received += client.recv(5000)
    thread.join(20)
    assert received.partition(b"\r\n\r\n")[2] == content
    assert kept == [True]


def test_a_client_that_has_gone(
    pair: tuple[socket.socket, socket.socket], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither before the request is read nor before its answer is it an error."""
    client, served = pair
    client.sendall(PLAIN)

    def leave() -> Iterator[bytes]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        yield LARGE

    with caplog.at_level(logging.INFO):
        worker = serving(answering(leave(), len(LARGE)))
        assert answer(worker, served) is False
        assert answer(worker, served) is False
    assert not caplog.records


@pytest.mark.parametrize("why", ["max_requests", "stopping", "full", "off"])
def test_the_end_of_a_connection_is_announced(pair: tuple[socket.socket, socket.socket], why: str) -> None:
    """An answer says `Connection: close` where the worker ends, or keeps no more connections."""
    client, served = pair
    client.sendall(PLAIN)
    worker = serving(answering([b"small"], 5))
    if why == "max_requests":
        worker.max_requests = 1
    elif why == "stopping":
        worker.alive = False
    elif why == "full":
        worker.max_keepalived = 0
    else:
        worker.cfg.set("keepalive", 0)
    assert answer(worker, served) is False
    assert b"\r\nConnection: close\r\n" in client.recv(65536)
    assert worker.alive is (why in ("full", "off"))


def test_plain_requests_do_not_reach_gunicorn(pair: tuple[socket.socket, socket.socket]) -> None:
    """The worker answers what was seen of a connection when it began, and keeps nothing of it."""
    client, served = pair
    client.sendall(PLAIN)
    worker = serving(answering([b"small"], 5))
    worker.plain = PlainReader(worker.cfg)
    worker.method_queue.init()
    conn = TConn(worker.cfg, served, ("127.0.0.1", 1), ("127.0.0.1", 8080))
    conn.sent = PLAIN
    worker.answer(conn, "other")
    assert client.recv(65536).endswith(b"\r\n\r\nsmall")
    assert conn.parser is None
    assert not conn.sent
    worker.method_queue.close()
