"""Kept connections of request threads: TLS, deadlines over the whole exchange, and what is kept."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.peer import Peer, in_chunks, say_nothing
from webcall.core import livekit_connections
from webcall.core.http_connection import Broken
from webcall.core.livekit_connections import Connections

GET = b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n"
TIMEOUT_S = 1.0


def until() -> float:
    return time.monotonic() + TIMEOUT_S


def test_tls_keeps_its_connection(
    peer_of: Callable[..., Peer],
    connections_to: Callable[..., Connections],
    peer_certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over TLS a request of any size is answered, and the next one uses the same connection."""
    file, context = peer_certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    peer = peer_of(in_chunks, context)
    connections = connections_to(peer.port, "https")
    for request in (GET, GET + b"x" * 3_000_000 + b"!", GET):
        answer = connections.exchange(request, time.monotonic() + 10)
        assert (answer.status, answer.body) == (200, b"whole")
        assert answer.date == "Thu, 01 Jan 2026 00:00:00 GMT"
    assert peer.connections == 1


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
def test_a_connection_that_did_not_stay_quiet_is_not_used_again(
    peer_of: Callable[..., Peer], connections_to: Callable[..., Connections], said: bytes
) -> None:
    """One on which something has come while it was idle costs the next request nothing."""
    kept = threading.Event()

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        kept.wait(10)
        connection.sendall(said)
        if said:
            connection.recv(65536)

    peer = peer_of(script)
    connections = connections_to(peer.port)
    assert connections.exchange(GET, until()).status == 200
    kept.set()
    idle = select.poll()
    idle.register(connections._kept[0]._socket, select.POLLIN)
    assert idle.poll(10_000)
    assert connections.exchange(GET, until()).status == 200
    assert peer.connections == 2


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_peer_costs_its_time(
    peer_of: Callable[..., Peer], connections_to: Callable[..., Connections], scheme: str
) -> None:
    """Neither a TLS handshake nor an answer that does not come holds longer than it may."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connections_to(peer_of(say_nothing).port, scheme).exchange(GET, until())
    assert TIMEOUT_S * 0.9 < time.monotonic() - began < TIMEOUT_S + 1


def test_a_peer_that_reads_nothing_costs_its_time(
    peer_of: Callable[..., Peer], connections_to: Callable[..., Connections]
) -> None:
    """A request that cannot be sent holds no longer than it may."""
    with pytest.raises(TimeoutError):
        connections_to(peer_of(say_nothing).port).exchange(GET + b"x" * 50_000_000, until())


def test_a_moment_that_has_passed_sends_nothing(
    peer_of: Callable[..., Peer], connections_to: Callable[..., Connections]
) -> None:
    """Whoever has no time left asks nobody, and a kept connection stays good for those who have."""
    peer = peer_of(in_chunks)
    connections = connections_to(peer.port)
    connections.exchange(GET, until())
    with pytest.raises(TimeoutError):
        connections.exchange(GET, time.monotonic() - 1)
    connections.exchange(GET, until())
    assert peer.connections == 1


@pytest.mark.parametrize("ends_well", [True, False])
def test_connections_of_before_a_time_out(
    peer_of: Callable[..., Peer], connections_to: Callable[..., Connections], ends_well: bool
) -> None:
    """One in use when all were given up is not kept when it ends, nor does its end take newer ones along."""
    begun, end = threading.Event(), threading.Event()

    def script(connection: socket.socket) -> None:
        while asked := connection.recv(65536):
            if b"/silent" in asked:
                end.wait(30)
                return
            if b"/slow" in asked:
                begun.set()
                end.wait(30)
                if not ends_well:
                    return
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    peer = peer_of(script)
    connections = connections_to(peer.port)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(connections.exchange, GET.replace(b"/ ", b"/slow "), time.monotonic() + 30)
        assert begun.wait(10)
        with pytest.raises(TimeoutError):
            connections.exchange(GET.replace(b"/ ", b"/silent "), until())
        assert connections.exchange(GET, until()).status == 200
        assert peer.connections == 3
        end.set()
        assert isinstance(slow.exception(timeout=10), Broken) is not ends_well
    newest = connections._kept[-1]
    assert [newest] == list(connections._kept)
    assert connections.exchange(GET, until()).status == 200
    assert peer.connections == 3


def test_an_answer_without_a_length(
    peer_of: Callable[..., Peer], connections_to: Callable[..., Connections]
) -> None:
    """An answer that says no length ends with its connection; one that says it and does not is broken."""

    def answer(connection: socket.socket) -> None:
        asked = connection.recv(65536)
        length = b"Content-Length: 100\r\n" if b"/half" in asked else b""
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\nall of it")

    connections = connections_to(peer_of(answer).port)
    assert connections.exchange(GET, until()).body == b"all of it"
    with pytest.raises(Broken):
        connections.exchange(GET.replace(b"/ ", b"/half "), until())


def test_a_connection_is_not_kept_for_ever(
    peer_of: Callable[..., Peer], connections_to: Callable[..., Connections], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has been idle for long is not used again, nor one that its server wants to close."""
    peer = peer_of(in_chunks)
    connections = connections_to(peer.port)
    monkeypatch.setattr(livekit_connections, "KEPT_S", 0.0)
    for _ in range(2):
        connections.exchange(GET, until())
    assert peer.connections == 2

    def close(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    closing = peer_of(close)
    connections = connections_to(closing.port)
    for _ in range(2):
        assert connections.exchange(GET, until()).status == 200
    assert closing.connections == 2
