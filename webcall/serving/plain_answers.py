"""Answers to plain requests: one of a known and moderate length is written at once, with its head.

Gunicorn writes head and body each on its own, which a client receives in two packets, and goes through the
head three times. All other answers it writes here, too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from gunicorn import SERVER
from gunicorn.http import wsgi
from gunicorn.util import http_date, is_hoppish

from webcall.serving.plain_requests import PlainRequest

_LARGEST_AT_ONCE = 65536
# As gunicorn has them, names and values (RFC 9110, 5.1 and 5.5).
_FIELDS = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t -~\x80-\xff]*\r\n)*")
_WITHOUT_BODY = ("1", "204", "304")

Headers = list[tuple[str, str]]


def answer_plainly(worker: Any, request: PlainRequest, conn: Any) -> bool:
    """Answer a plain request that a connection has sent; return whether the connection can be kept.

    It does for it what gthread's `handle` and `handle_request` do for others, in a thread of the pool.
    """
    answer = PlainAnswer(request, conn, worker.cfg)
    try:
        try:
            received = conn.sock.recv(request.length)
        except OSError as error:
            raise ClientGone from error
        if len(received) < request.length:
            return False
        worker.nr += 1
        if worker.nr >= worker.max_requests and worker.alive:
            worker.log.info("Autorestarting worker after current request.")
            worker.alive = False
        full = len(worker.keepalived_conns) >= worker.max_keepalived
        if full or not (worker.alive and worker.cfg.keepalive):
            request.must_close = True
        content = worker.wsgi(request.environ, answer.start)
        try:
            return answer.send(content)
        finally:
            if hasattr(content, "close"):
                content.close()
    except ClientGone as gone:
        # Also one that takes nothing for so long that the socket's time is up.
        worker.log.debug("The client has gone: %s", type(gone.__cause__).__name__)
    except Exception as error:
        if answer.begun:
            worker.log.exception("Error handling request")
        else:
            worker.handle_error(request, conn.sock, conn.client, error)
    return False


class ClientGone(Exception):
    """The connection's own fault, and not the application's, which may raise an OSError, too."""


@contextmanager
def _of_client() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ClientGone from error


class PlainAnswer:
    """The answer to one request, which the application begins with `start`."""

    def __init__(self, request: PlainRequest, conn: Any, cfg: Any) -> None:
        self._request = request
        self._conn = conn
        self._cfg = cfg
        self._status = ""
        self._headers: Headers = []
        self._sent = False
        self._response: Any = None

    @property
    def begun(self) -> bool:
        """Whether something of it may have reached the client."""
        return self._sent or (self._response is not None and self._response.headers_sent)

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], None]:
        """Take the status and the headers, as PEP 3333 has it."""
        if exc_info and self.begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._status and not exc_info:
            raise AssertionError("the answer has begun already")
        self._status, self._headers = status, headers
        return _write

    def send(self, content: Iterable[bytes]) -> bool:
        """Send it; return whether the connection can be kept. Raises as sockets and the application do."""
        if not self._status:
            # An application may begin in the first step of what it has returned.
            parts = iter(content)
            content = chain((next(parts, b""),), parts)
        length = self._plain_length()
        if length is None:
            return self._send_as_gunicorn(content)
        closes = self._request.must_close
        body = b"".join(content)
        if len(body) != length:
            raise RuntimeError("the answer is not as long as its Content-Length says")
        data = _head(self._status, self._headers, closes=closes) + body
        self._sent = True
        self._send(data)
        return not closes

    def _plain_length(self) -> int | None:
        """Return how long the answer's body is; None if gunicorn has to write it."""
        if self._request.method == "HEAD" or self._status.startswith(_WITHOUT_BODY):
            return None
        length = None
        for name, value in self._headers:
            if is_hoppish(name):
                return None
            if name.lower() == "content-length":
                length = int(value)
        return None if length is None or length > _LARGEST_AT_ONCE else length

    def _send(self, data: bytes) -> None:
        connection = self._conn.sock
        try:
            sent = connection.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ClientGone from error
        if sent < len(data):
            with _of_client():
                connection.setblocking(True)
                connection.sendall(memoryview(data)[sent:])

    def _send_as_gunicorn(self, content: Iterable[bytes]) -> bool:
        self._conn.sock.setblocking(True)
        response = self._response = wsgi.Response(self._request, self._conn.sock, self._cfg)
        response.start_response(self._status, self._headers)
        if isinstance(content, wsgi.FileWrapper):
            with _of_client():
                response.write_file(content)
        else:
            for part in content:
                with _of_client():
                    response.write(part)
        with _of_client():
            response.close()
        return not response.should_close()


def _write(_: bytes) -> None:
    raise NotImplementedError("the application has to return its answer: there is no write() here")


class _Clock:
    """The header Date, which is the same for a second."""

    def __init__(self) -> None:
        self._known = (0, "")

    def date(self) -> str:
        now = int(time.time())
        second, date = self._known
        if second != now:
            date = http_date(now)
            self._known = now, date
        return date


_CLOCK = _Clock()


def _head(status: str, headers: Headers, *, closes: bool) -> bytes:
    """Return an answer's head. Raises `ValueError` for what may not stand in one."""
    own = {
        "Server": SERVER,
        "Date": _CLOCK.date(),
        "Connection": "close" if closes else "keep-alive",
    }
    lines = [name + ": " + value + "\r\n" for name, value in (*own.items(), *headers)]
    fields = "".join(lines)
    # A line too many would be a header, or an answer, of somebody else's making.
    plain = _FIELDS.fullmatch(fields) and fields.count("\n") == len(lines)
    if not (plain and wsgi.STATUS_RE.fullmatch(status)):
        raise ValueError("the answer's status or headers hold what may not stand there")
    return f"HTTP/1.1 {status}\r\n{fields}\r\n".encode("latin-1")
