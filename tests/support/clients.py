"""Clients that go on calling while a service is restarted, and count what was lost."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.deployment import bearer
from tests.support.http import CALL, JSON

BODY = json.dumps({"assistant_id": "helper"}).encode()
HEADERS = bearer() | JSON


@dataclass(frozen=True)
class Loss:
    """A request without an answer: the client's port, whether the connection was kept, and the error."""

    port: int
    kept: bool
    error: str


class Clients:
    """Clients that send one request after the other until they are stopped.

    Half of them keep their connections. They try again only where no request can have been lost: the
    connection was refused, or the server had closed it, cleanly, before the request was sent.
    """

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.answers: Counter[int] = Counter()
        self.lost: list[Loss] = []
        self.refused = 0
        self.slowest_s = 0.0
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._go_on, args=(bool(n % 2),)) for n in range(count)]

    @property
    def sent(self) -> int:
        """How many requests were sent, but for those that were refused."""
        return self.answers.total() + len(self.lost)

    @contextlib.contextmanager
    def calling(self) -> Iterator[Clients]:
        """Let them call while the block runs."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def wait_for(self, count: int, timeout_s: float = 60) -> None:
        """Wait for so many answers more."""
        until, enough = time.monotonic() + timeout_s, self.sent + count
        while self.sent < enough:
            assert time.monotonic() < until, "the service does not answer"
            time.sleep(0.01)

    def _go_on(self, keeps: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            if connection is None or connection.sock is None or _closed(connection.sock):
                connection = self._connect()
                if connection is None:
                    continue
            self._ask(connection, keeps)
            if not keeps:
                connection.close()
        if connection is not None:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.connect()
        except ConnectionRefusedError:
            self.refused += 1
            time.sleep(0.1)
            return None
        return connection

    def _ask(self, connection: http.client.HTTPConnection, keeps: bool) -> None:
        headers = HEADERS if keeps else HEADERS | {"Connection": "close"}
        began, port = time.monotonic(), connection.sock.getsockname()[1]
        try:
            connection.request("POST", CALL, BODY, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with self._counting:
                self.lost.append(Loss(port, keeps, repr(error)))
            return
        with self._counting:
            self.answers[answer.status] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)


def _closed(connection: socket.socket) -> bool:
    """Return whether the server has closed a connection, with nothing of a request sent on it."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
