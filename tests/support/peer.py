"""A server of which a test says what it does with each connection, and connections to it."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.listeners import stop_listening
from tests.support.oidc import own_certificate
from tests.support.programs import without
from webcall.core.livekit_connections import Connections
from webcall.loop_thread import LoopThread

Script = Callable[[socket.socket], None]


class Peer:
    """A server of which `script` says what it does with each connection."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            if self._tls is None:
                self._script(connection)
            else:
                with self._tls.wrap_socket(connection, server_side=True) as wrapped:
                    self._script(wrapped)

    def close(self) -> None:
        """Stop listening."""
        stop_listening(self._listener)


def in_chunks(connection: socket.socket) -> None:
    """Read requests, each of which ends with an exclamation mark, and answer each in chunks."""
    while data := connection.recv(65536):
        if data.endswith((b"!", b"\r\n\r\n")):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
            connection.sendall(b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n5\r\nwhole\r\n")
            connection.sendall(b"0\r\n\r\n")


def say_nothing(connection: socket.socket) -> None:
    """Read and write nothing until the other side goes."""
    connection.recv(1, socket.MSG_PEEK)
    threading.Event().wait(5)


@pytest.fixture
def connections_loop() -> Iterator[LoopThread]:
    """Return the loop that opens connections."""
    found = LoopThread("connections")
    yield found
    found.close()


@pytest.fixture
def peer_of() -> Iterator[Callable[..., Peer]]:
    """Return what makes a peer of a script, and of a context for TLS."""
    with contextlib.ExitStack() as peers:

        def make(script: Script, tls: ssl.SSLContext | None = None) -> Peer:
            peer = Peer(script, tls)
            peers.callback(peer.close)
            return peer

        yield make


@pytest.fixture
def connections_to(connections_loop: LoopThread) -> Iterator[Callable[..., Connections]]:
    """Return what makes connections to a port of this machine."""
    with contextlib.ExitStack() as made:

        def make(port: int, scheme: str = "http", host: str = "127.0.0.1") -> Connections:
            connections = Connections(f"{scheme}://{host}:{port}", connections_loop)
            made.callback(connections.close)
            return connections

        yield make


@pytest.fixture
def peer_certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a certificate of 127.0.0.1, and the context of a server that has it."""
    if shutil.which("openssl") is None:
        without("openssl", "install OpenSSL's command line, for example Debian's package openssl")
    return own_certificate(tmp_path)
