"""One HTTP/1.1 connection on a socket that does not block: each exchange by one moment, not by each read."""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import NamedTuple

import httptools

_READ_AT_ONCE = 65536
# Far more than any answer of LiveKit's: a list of ten thousand rooms takes a few.
_LONGEST_ANSWER = 16 * 1024 * 1024


class NotReached(OSError):
    """No connection could be made: nothing was sent."""


class Broken(OSError):
    """A connection that was there broke: what was sent may have arrived."""


class TooLong(Exception):
    """An answer is longer than any that is expected."""


class Answer(NamedTuple):
    """An HTTP answer; `date` is its header of that name, or empty."""

    status: int
    body: bytes
    date: str


class _Reading:
    """Takes one answer from httptools' parser, which would read on with what comes behind it."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body: list[bytes] = []
        self.whole = False
        self.keeps = False
        self._length = 0
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.date = ""
        # Without a length, the answer goes on until the connection ends (RFC 9112, section 6.3).
        self._has_length = False

    def take(self, data: bytes) -> None:
        """Read on; no data is the connection's end.

        Raises `Broken` for an end before the answer's, `TooLong`, and httptools' errors for what is no HTTP.
        """
        if not data:
            if not self.status or self._has_length:
                raise Broken("closed before the answer's end")
            self.whole = True
            return
        self._length += len(data)
        if self._length > _LONGEST_ANSWER:
            raise TooLong
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.whole:
                raise
            # The answer is a good one, and what comes behind it belongs to nothing that was asked.
            self.keeps = False

    def on_message_begin(self) -> None:
        if self.whole:
            self.keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.whole:
            return
        name = name.lower()
        if name == b"date":
            self.date = value.decode("latin-1")
        elif name in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    def on_headers_complete(self) -> None:
        if not self.whole:
            self.status = self.parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        if not self.whole:
            self.body.append(part)

    def on_message_complete(self) -> None:
        if self.whole:
            return
        if self.status < 200:
            # The answer itself is still to come (RFC 9110, section 15.2).
            self._begin()
            return
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
            self._socket,
            server_hostname=host,
            do_handshake_on_connect=False,
            # A connection that was cut does not end an answer that says no length (RFC 9112, section 9.8).
            suppress_ragged_eofs=False,
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

        Raises `Broken`, `TimeoutError`, `TooLong`, and httptools' errors for what is no HTTP.
        """
        reading = _Reading()
        all_sent = self._send(memoryview(request), reading, until)
        while not reading.whole:
            self._wait(select.POLLIN, until)
            self._receive(reading, until)
        answer = Answer(reading.status, b"".join(reading.body), reading.date)
        return answer, reading.keeps and all_sent

    def _send(self, unsent: memoryview, reading: _Reading, until: float) -> bool:
        """Send it all; return false if the server answers or goes without having read it all."""
        while unsent:
            try:
                unsent = unsent[self._socket.send(unsent) :]
                continue
            except (BlockingIOError, ssl.SSLWantWriteError):
                event = select.POLLIN | select.POLLOUT
            except ssl.SSLWantReadError:
                event = select.POLLIN
            except (BrokenPipeError, ConnectionResetError):
                # Its answer may have come before.
                return False
            except OSError as error:
                raise Broken(type(error).__name__) from error
            if self._wait(event, until) & select.POLLIN:
                self._receive(reading, until)
                if reading.whole:
                    return False
        return True

    def _receive(self, reading: _Reading, until: float) -> None:
        """Take what is there, which may be nothing of the answer: TLS has messages of its own."""
        try:
            data = self._socket.recv(_READ_AT_ONCE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLWantWriteError:
            self._wait(select.POLLOUT, until)
            return
        except OSError as error:
            raise Broken(type(error).__name__) from error
        reading.take(data)

    def _wait(self, event: int, until: float) -> int:
        left_s = until - time.monotonic()
        if event != self._waits_for:
            self._waits_for = event
            self._poll.modify(self._socket, event)
        if left_s <= 0 or not (found := self._poll.poll(left_s * 1000)):
            raise TimeoutError
        return found[0][1]

    def close(self) -> None:
        """Close it, without TLS's farewell, for which one would wait."""
        self._socket.close()
