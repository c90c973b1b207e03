"""Opening connections to LiveKit: names, TLS and its certificates, and what came too late."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.support.http import at_once
from tests.support.peer import Peer, in_chunks, say_nothing
from webcall import resolver
from webcall.core import livekit_connections
from webcall.core.http_connection import HttpConnection, NotReached
from webcall.core.livekit_connections import Connections
from webcall.loop_thread import LoopThread

GET = b"GET / HTTP/1.1\r\nHost: peer\r\n\r\n"
TIMEOUT_S = 1.0


def until() -> float:
    return time.monotonic() + TIMEOUT_S


def test_certificates_are_checked(
    peer_of: Callable[..., Peer],
    connections_to: Callable[..., Connections],
    peer_certificate: tuple[Path, ssl.SSLContext],
) -> None:
    """A certificate that nobody vouches for is refused."""
    peer = peer_of(in_chunks, peer_certificate[1])
    with pytest.raises(ssl.SSLCertVerificationError):
        connections_to(peer.port, "https").exchange(GET, until())


def test_names_are_checked(
    peer_of: Callable[..., Peer],
    connections_to: Callable[..., Connections],
    peer_certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A certificate that is good, and another host's, is refused."""
    file, context = peer_certificate
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    peer = peer_of(in_chunks, context)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        connections_to(peer.port, "https", "localhost").exchange(GET, until())


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ValueError("a fault of ours"), ssl.SSLError("bad")])
def test_only_what_the_network_does_is_not_reached(
    peer_of: Callable[..., Peer],
    connections_to: Callable[..., Connections],
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
) -> None:
    """What ends a TLS handshake is told as what it is, and the connection is closed."""
    gone = threading.Event()

    def script(connection: socket.socket) -> None:
        if not connection.recv(1):
            gone.set()

    def fail(*_: object) -> None:
        raise fault

    monkeypatch.setattr(HttpConnection, "begin_tls", fail)
    with pytest.raises(type(fault)) as caught:
        connections_to(peer_of(script).port, "https").exchange(GET, until())
    assert caught.value is fault
    assert gone.wait(10)


def test_a_handshake_that_is_broken_off(
    peer_of: Callable[..., Peer], connections_to: Callable[..., Connections]
) -> None:
    """A peer that resets the connection before TLS stands was not reached."""

    def reset(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with pytest.raises(NotReached):
        connections_to(peer_of(reset).port, "https").exchange(GET, until())


def test_the_kernels_time_out_is_not_ours(
    connections_to: Callable[..., Connections], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel gives up before we do, the server was not reached."""

    async def give_up(*_: object, **__: object) -> socket.socket:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(livekit_connections.aiohappyeyeballs, "start_connection", give_up)
    with pytest.raises(NotReached, match="Connection timed out"):
        connections_to(80).exchange(GET, until())


def test_the_kernels_time_out_in_a_handshake_is_not_ours(
    peer_of: Callable[..., Peer],
    connections_to: Callable[..., Connections],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the kernel gives up a peer that has gone before TLS stands, the server was not reached."""

    def give_up(_: ssl.SSLSocket) -> None:
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out")

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", give_up)
    with pytest.raises(NotReached, match="Connection timed out"):
        connections_to(peer_of(say_nothing).port, "https").exchange(GET, until())


def test_a_connection_that_comes_too_late_is_closed(
    peer_of: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is made just as it is given up does not stay open."""
    late = socket.create_connection(("127.0.0.1", peer_of(say_nothing).port))

    class Opening(Future[socket.socket]):
        def cancel(self) -> bool:
            self.set_result(late)
            return False

    def submit(coroutine: Coroutine[Any, Any, socket.socket]) -> Future[socket.socket]:
        coroutine.close()
        return Opening()

    loop = LoopThread("late")
    monkeypatch.setattr(loop, "submit", submit)
    with pytest.raises(TimeoutError):
        Connections("http://127.0.0.1:80", loop).exchange(GET, time.monotonic() + 0.05)
    assert late.fileno() == -1


def test_a_name_that_is_never_found_costs_its_time(
    connections_to: Callable[..., Connections], connections_loop: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where DNS does not answer, none of many requests waits longer than it may, or keeps the loop's threads.

    They share a look-up, and other names are found meanwhile.
    """
    done, asked = threading.Event(), []
    real = socket.getaddrinfo

    def look_up(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "livekit.test":
            return real(host, *rest, **more)
        asked.append(host)
        done.wait(60)
        return []

    monkeypatch.setattr(resolver, "SHARED_FOR_S", 60.0)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    connections = connections_to(80, host="livekit.test")

    def ask(_: int) -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            connections.exchange(GET, until())
        return time.monotonic() - began

    try:
        took_s = at_once(40, ask)
        others = connections_loop.submit(_other_name()).result(timeout=10)
    finally:
        done.set()
    assert max(took_s) < TIMEOUT_S + 5
    assert asked == ["livekit.test"]
    assert others


async def _other_name() -> Any:
    return await asyncio.get_running_loop().getaddrinfo("localhost", 80)
