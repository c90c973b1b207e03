"""Where one answer ends and another begins, and answers that come early, are cut or do not end."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from ssl import SSLContext, SSLSocket
from typing import Any

import httptools
import pytest

from tests.support.peer import Peer
from webcall.core import http_connection
from webcall.core.http_connection import Broken, TooLong
from webcall.core.livekit_connections import Connections

PeerOf = Callable[..., Peer]
ConnectionsTo = Callable[..., Connections]

BIG = b"POST /big HTTP/1.1\r\nHost: peer\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 50_000_000
LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 4\r\nDate: late\r\n\r\nlate"


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: peer\r\n\r\n".encode()


def until() -> float:
    return time.monotonic() + 10


def answers(before: bytes = b"", behind: bytes = b"", pause: Callable[[], Any] = lambda: None) -> Any:
    """Return a script that answers with the path asked for, with this in front and this behind it."""

    def script(connection: socket.socket) -> None:
        while asked := connection.recv(65536):
            path = asked.split()[1]
            length = b"Content-Length: %d\r\n\r\n" % len(path)
            if before:
                connection.sendall(before)
                pause()
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + path + behind)

    return script


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
def test_what_comes_before_an_answer_is_none(
    peer_of: PeerOf, connections_to: ConnectionsTo, status: bytes, apart: bool
) -> None:
    """After a 1xx the answer itself is waited for, and the next request gets its own."""
    read = threading.Event()
    early = b"HTTP/1.1 " + status + b"\r\nDate: early\r\nLink: </x>\r\n\r\n"
    pause = (lambda: read.wait(0.2)) if apart else (lambda: False)
    peer = peer_of(answers(before=early * 2, pause=pause))
    connections = connections_to(peer.port)
    for path in ("/one", "/two", "/three"):
        assert connections.exchange(get(path), until()) == (200, path.encode(), "")
    assert peer.connections == 1


def test_an_end_after_a_1xx_is_no_answer(peer_of: PeerOf, connections_to: ConnectionsTo) -> None:
    """Where nothing comes after a 1xx, there was no answer."""

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")

    with pytest.raises(Broken):
        connections_to(peer_of(script).port).exchange(get("/"), until())


@pytest.mark.parametrize("behind", [LATE, LATE[:40], LATE[:-2], b"garbage", b"\0"])
def test_what_comes_behind_an_answer_is_not_part_of_it(
    peer_of: PeerOf, connections_to: ConnectionsTo, behind: bytes
) -> None:
    """The first answer counts as it came, and the connection is not used again."""
    peer = peer_of(answers(behind=behind))
    connections = connections_to(peer.port)
    for path in ("/one", "/two"):
        assert connections.exchange(get(path), until()) == (200, path.encode(), "")
    assert peer.connections == 2


def test_what_is_no_http_is_no_answer(peer_of: PeerOf, connections_to: ConnectionsTo) -> None:
    """Garbage in front of an answer is an error."""
    with pytest.raises(httptools.HttpParserError):
        connections_to(peer_of(answers(before=b"garbage")).port).exchange(get("/"), until())


@pytest.mark.parametrize("end", ["hold", "close", "reset"])
def test_an_answer_before_the_request_is_read(
    peer_of: PeerOf, connections_to: ConnectionsTo, end: str
) -> None:
    """A server that answers without having read the whole request is heard, whatever it does then."""
    done = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        if end == "hold":
            done.wait(10)
        elif end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    peer = peer_of(script)
    connections = connections_to(peer.port)
    for _ in range(2):
        assert connections.exchange(BIG, until()).status == 413
    # Half a request has gone over it.
    assert peer.connections == 2
    done.set()


def test_a_1xx_before_the_request_is_read(peer_of: PeerOf, connections_to: ConnectionsTo) -> None:
    """A 1xx that comes while the request is sent does not end the sending."""

    def script(connection: socket.socket) -> None:
        read = len(connection.recv(100))
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while read < len(BIG):
            read += len(connection.recv(1_000_000))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall")

    assert connections_to(peer_of(script).port).exchange(BIG, until()) == (200, b"all", "")


def test_a_peer_that_goes_as_it_is_sent_to(peer_of: PeerOf, connections_to: ConnectionsTo) -> None:
    """A connection that ends without an answer while the request is sent is broken."""
    with pytest.raises(Broken):
        connections_to(peer_of(lambda connection: connection.recv(100)).port).exchange(BIG, until())


@pytest.mark.parametrize("head", [b"\r\n", b"X-More: ", b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n"])
def test_an_answer_without_an_end(
    peer_of: PeerOf, connections_to: ConnectionsTo, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    """A body or a head that goes on and on is given up before it fills the memory."""
    monkeypatch.setattr(http_connection, "_LONGEST_ANSWER", 1_000_000)

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
        while True:
            connection.sendall(b"x" * 100_000)

    with pytest.raises(TooLong):
        connections_to(peer_of(script).port).exchange(get("/"), until())


@pytest.mark.parametrize("cut", [False, True])
def test_tls_tells_an_end_from_a_cut(
    peer_of: PeerOf,
    connections_to: ConnectionsTo,
    peer_certificate: tuple[Path, SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    cut: bool,
) -> None:
    """An answer that says no length is whole with TLS's farewell only."""
    file, context = peer_certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    def script(connection: SSLSocket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        if not cut:
            connection.unwrap()

    connections = connections_to(peer_of(script, context).port, "https")
    if cut:
        with pytest.raises(Broken):
            connections.exchange(get("/"), until())
    else:
        assert connections.exchange(get("/"), until()).body == b"half of it"
