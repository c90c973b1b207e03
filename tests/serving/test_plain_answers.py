"""Answers to plain requests: what a client gets is what gunicorn would have sent it."""

from __future__ import annotations

import http.client
import io
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.workers.gthread import TConn

from tests.support.gunicorn_worker import serving
from tests.support.raw_requests import lines
from webcall.serving.plain_answers import answer_plainly
from webcall.serving.plain_requests import PlainReader
from webcall.serving.worker import Worker

Start = Callable[..., Any]
App = Callable[[dict[str, Any], Start], Iterable[bytes]]


class Content:
    """An answer's body that counts how often it was closed."""

    def __init__(self, *parts: Any) -> None:
        self._parts = iter(parts)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            yield part

    def close(self) -> None:
        """Count it."""
        self.closed += 1


@dataclass(frozen=True)
class Got:
    """What a client has of an answer."""

    status: int
    reason: str
    headers: frozenset[tuple[str, str]]
    body: bytes | None
    kept: bool


def exchange(worker: Worker, sent: bytes, *, plainly: bool) -> Got:
    """Return what a client gets that sends this."""
    client, served = socket.socketpair()
    with ThreadPoolExecutor(1) as pool, client, served:
        client.settimeout(20)
        client.sendall(sent)
        received = pool.submit(lambda: b"".join(iter(lambda: client.recv(65536), b"")))
        conn = TConn(worker.cfg, served, ("127.0.0.1", 1), ("127.0.0.1", 8080))
        if plainly:
            request = PlainReader(worker.cfg).read(sent, conn)
            assert request is not None
            kept = answer_plainly(worker, request, conn)
        else:
            conn.data_ready = True
            kept = bool(worker.handle(conn))
        if kept:
            served.setblocking(False)
            with pytest.raises(BlockingIOError):
                served.recv(1)
        served.close()
        return parsed(received.result(), sent.split(b" ")[0].decode(), kept)


def parsed(answer: bytes, method: str, kept: bool) -> Got:
    wire = SimpleNamespace(makefile=lambda _: io.BytesIO(answer))
    response = http.client.HTTPResponse(wire, method=method)  # type: ignore[arg-type]
    response.begin()
    given = ((name.lower(), value.strip(" \t")) for name, value in response.headers.items())
    headers = {(name, value) for name, value in given if name not in ("date", "x-request-id")}
    assert "Date" in response.headers or response.status >= 400
    try:
        # Of a 500, which tells its request's id.
        body = re.sub(rb"[0-9a-f]{32}", b"an id", response.read())
    except http.client.IncompleteRead:
        body = None
    return Got(response.status, response.reason, frozenset(headers), body, kept)


def answering(content: Iterable[Any], *headers: tuple[Any, Any], status: Any = "200 OK") -> App:
    def app(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        start(status, list(headers))
        return content

    return app


def starting_late(environ: dict[str, Any], start: Start) -> Iterator[bytes]:
    start("200 OK", [("Content-Length", "4")])
    yield b"la"
    yield b"te"


def starting_again(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [])
    try:
        raise ValueError
    except ValueError as error:
        start("400 Bad", [("Content-Length", "3")], (ValueError, error, None))
    return [b"bad"]


def starting_twice(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    start("200 OK", [("Content-Length", "0")])
    start("201 Created", [("Content-Length", "0")])
    return []


def a_file(environ: dict[str, Any], start: Start) -> Any:
    content = Path(__file__).read_bytes() * 20
    start("200 OK", [("Content-Length", str(len(content)))])
    return environ["wsgi.file_wrapper"](io.BytesIO(content))


def echo(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def raising(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    raise RuntimeError


LENGTH = ("Content-Length", "5")
APPS: dict[str, Callable[[], App]] = {
    "small": lambda: answering([b"small"], LENGTH, ("X-A", "b"), ("X-A", "c")),
    "empty": lambda: answering([], ("Content-Length", "0")),
    "in parts": lambda: answering([b"sm", b"", b"all"], LENGTH),
    "large": lambda: answering([b"l" * 300_000], ("Content-Length", "300000")),
    "no length": lambda: answering([b"a", b"", b"b" * 70_000]),
    "no length and nothing": lambda: answering([]),
    "204": lambda: answering([], status="204 No Content"),
    "304": lambda: answering([], ("ETag", '"a"'), LENGTH, status="304 Not Modified"),
    "hop by hop": lambda: answering(
        [b"small"], LENGTH, ("Connection", "close"), ("Server", "me"), ("Date", "now")
    ),
    "obs-text": lambda: answering([b"small"], LENGTH, ("X-A", " \xe9\t \xff ")),
    "no reason": lambda: answering([b"small"], LENGTH, status="299"),
    "late start": lambda: starting_late,
    "start again": lambda: starting_again,
    "start twice": lambda: starting_twice,
    "file": lambda: a_file,
    "echo": lambda: echo,
    "raises": lambda: raising,
    "raises after start": lambda: answering(Content(RuntimeError())),
    "raises within": lambda: answering(Content(b"a" * 10, RuntimeError())),
    "no bytes": lambda: answering(["a"]),
    "line in a value": lambda: answering([b"small"], LENGTH, ("X-A", "b\r\nX-B: c")),
    "line in a name": lambda: answering([b"small"], LENGTH, ("X-A: b\r\nX-B", "c")),
    "blank in a name": lambda: answering([b"small"], LENGTH, ("X A", "c")),
    "colon in a name": lambda: answering([b"small"], LENGTH, ("X-A:b", "c")),
    "no name": lambda: answering([b"small"], LENGTH, ("", "c")),
    "LF in a value": lambda: answering([b"small"], LENGTH, ("X-A", "b\nc")),
    "NUL in a value": lambda: answering([b"small"], LENGTH, ("X-A", "b\0c")),
    "no latin-1 in a value": lambda: answering([b"small"], LENGTH, ("X-A", "\u20ac")),
    "no text in a value": lambda: answering([b"small"], LENGTH, ("X-A", 5)),
    "line in the status": lambda: answering([b"small"], LENGTH, status="200 OK\r\nX-A: b"),
    "no status": lambda: answering([b"small"], LENGTH, status="OK"),
}


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("name", APPS)
def test_answers_are_gunicorns(name: str, method: str) -> None:
    """Status, headers, body and whether the connection is kept are the same."""
    for closing in ([], ["Connection: close"]):
        sent = lines(f"{method} /?a HTTP/1.1", "Host: x", "Content-Length: 4", *closing) + b"body"
        theirs = exchange(serving(APPS[name]()), sent, plainly=False)
        assert exchange(serving(APPS[name]()), sent, plainly=True) == theirs


SENT = lines("GET / HTTP/1.1", "Host: x")


@pytest.mark.parametrize("parts", [(b"small",), (b"smal",), (RuntimeError(),), (OSError(),)])
@pytest.mark.parametrize("headers", [[LENGTH], [], [("X", "\n")]])
def test_what_the_application_returns_is_closed(parts: tuple[Any], headers: list[Any]) -> None:
    """Its close() is called once, however the answer ends; a body of another length is no answer."""
    content = Content(*parts)
    worker = serving(answering(content, *headers))
    worker.handle_error = lambda *_: None
    client, served = socket.socketpair()
    with client, served:
        client.sendall(SENT)
        conn = TConn(worker.cfg, served, ("127.0.0.1", 1), ("127.0.0.1", 8080))
        request = PlainReader(worker.cfg).read(SENT, conn)
        assert request is not None
        kept = answer_plainly(worker, request, conn)
    assert content.closed == 1
    fine = isinstance(parts[0], bytes) and (not headers or (headers == [LENGTH] and parts == (b"small",)))
    assert kept is fine
