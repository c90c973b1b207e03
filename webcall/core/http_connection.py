"""One HTTP/1.1 connection on a socket that does not block: each exchange by one moment, not by each read."""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import NamedTuple

import httptools

_READ_AT_ONCE = 65536


class NotReached(OSError):
    """No connection could be made: nothing was sent."""


class Broken(OSError):
    """A connection that was there broke: what was sent may have arrived."""


class Answer(NamedTuple):
    """An HTTP answer; `date` is its header of that name, or empty."""

    status: int
    body: bytes
    date: str


class _Reading:
    """Takes an answer from httptools' parser."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.date = ""
        self.whole = False
        self.keeps = False
        # Without a length, the answer goes on until the connection ends (RFC 9112, section 6.3).
        self.has_length = False
        self.has_head = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name == b"date":
            self.date = value.decode("latin-1")
        elif name in (b"content-length", b"transfer-encoding"):
            self.has_length = True

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, part: bytes) -> None:
        self.body.append(part)

    def on_message_complete(self) -> None:
        self.whole = True
        self.keeps = self.parser.should_keep_alive()


class HttpConnection:
    """One connection, for one exchange at a time."""

    def __init__(self, made: socket.socket, generation: int) -> None:
        self._socket = made
        self._poll = select.poll()
        self._poll.register(made, select.POLLIN)
        self._waits_for = select.POLLIN
        self.generation = generation
        self.idle_since = 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come while it was idle: what would come then is its end."""
        return not self._poll.poll(0)  # what it waited for last was to read

    def begin_tls(self, context: ssl.SSLContext, host: str, until: float) -> None:
        """Make it a TLS connection. Raises `ssl.SSLError`, `OSError` and `TimeoutError`."""
        self._socket = wrapped = context.wrap_socket(
            self._socket, server_hostname=host, do_handshake_on_connect=False
        )
        while True:
            try:
                return wrapped.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, until)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, until)

    def exchange(self, request: bytes, until: float) -> tuple[Answer, bool]:
        """Send a request and return its answer, and whether the connection can be kept.

        Raises `Broken`, `TimeoutError`, and httptools' errors for what is no HTTP.
        """
        unsent = memoryview(request)
        while unsent:
            unsent = unsent[self._send(unsent, until) :]
        reading = _Reading()
        while not reading.whole:
            data = self._receive(until)
            if data:
                reading.parser.feed_data(data)
            elif reading.has_head and not reading.has_length:
                break
            else:
                raise Broken("closed before the answer's end")
        answer = Answer(reading.parser.get_status_code(), b"".join(reading.body), reading.date)
        return answer, reading.keeps

    def _send(self, data: memoryview, until: float) -> int:
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._wait(select.POLLOUT, until)
        except ssl.SSLWantReadError:
            self._wait(select.POLLIN, until)
        except OSError as error:
            raise Broken(type(error).__name__) from error
        return 0

    def _receive(self, until: float) -> bytes:
        while True:
            self._wait(select.POLLIN, until)
            try:
                return self._socket.recv(_READ_AT_ONCE)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, until)
            except OSError as error:
                raise Broken(type(error).__name__) from error

    def _wait(self, event: int, until: float) -> None:
        left_s = until - time.monotonic()
        if event != self._waits_for:
            self._waits_for = event
            self._poll.modify(self._socket, event)
        if left_s <= 0 or not self._poll.poll(left_s * 1000):
            raise TimeoutError

    def close(self) -> None:
        """Close it, without TLS's farewell, for which one would wait."""
        self._socket.close()
