"""Bodies that nobody has read: what of them has come, wherever it is held."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from gunicorn.config import Config
from gunicorn.http import RequestParser
from gunicorn.workers.gthread import TConn

from tests.support.raw_requests import lines
from webcall.serving.bodies import close_behind_unread
from webcall.serving.reading import MOST_READING_S, Reading

# One TLS record (16 KiB at most), of which gunicorn reads the first half with the head.
BODY = b"b" * 14_000
HEAD = lines("POST / HTTP/1.1", "Host: calls.example.com", f"Content-Length: {len(BODY)}")


@pytest.fixture
def connection(
    peer_certificate: tuple[Path, ssl.SSLContext],
) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """The two ends of a TLS connection: the client's, and the server's."""
    file, at_server = peer_certificate
    at_client = ssl.create_default_context(cafile=file)
    one, other = socket.socketpair()
    with ThreadPoolExecutor(1) as pool, one, other:
        greeted = pool.submit(at_server.wrap_socket, other, server_side=True)
        with at_client.wrap_socket(one, server_hostname="127.0.0.1") as client, greeted.result(10) as server:
            yield client, server


@pytest.mark.parametrize(
    ("sent", "closes"), [(BODY, False), (BODY[:-1], True)], ids=["whole", "a byte short"]
)
def test_what_tls_holds_of_a_body_has_come(
    connection: tuple[ssl.SSLSocket, ssl.SSLSocket], sent: bytes, closes: bool
) -> None:
    """An unread body ends no connection if it is here, and be it in a record that is deciphered already."""
    client, server = connection
    client.sendall(HEAD + sent)
    request = next(RequestParser(Config(), server, ("127.0.0.1", 40000)))
    assert server.pending(), "there is more than what was read with the head"
    close_behind_unread(request)
    assert request.should_close() is closes


def test_what_is_read_no_more_is_answered_in_tls(connection: tuple[ssl.SSLSocket, ssl.SSLSocket]) -> None:
    """A request that has come, and whose answer takes long, gets it enciphered, as ever."""
    client, server = connection
    conn = TConn(Config(), server, ("127.0.0.1", 40000), ("127.0.0.1", 8000))
    server.setblocking(True)
    reading = Reading()
    reading.begin(conn)
    reading.stop(time.monotonic() + MOST_READING_S)
    assert select.select([server], [], [], 0)[0], "it is read on"
    server.sendall(b"the answer")
    assert client.recv(100) == b"the answer"
