"""A way to LiveKit that counts what goes through: which methods of its API are asked, and how often."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections import Counter

from tests.support.listeners import stop_listening

_ASKED = re.compile(rb"POST /twirp/livekit\.(\w+/\w+) HTTP/1\.1\r\n")
_LONGEST = 120


class CountingWay:
    """Listens on a free loopback port and hands on to another, byte for byte."""

    def __init__(self, port: int) -> None:
        """Take the port that it leads to, where nobody has to listen yet."""
        self._to = port
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        """Requests by method, `RoomService/CreateRoom` for instance."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening, and break off what is open."""
        stop_listening(self._listener)
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._to), timeout=10)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        with client, server:
            with self._lock:
                self._open |= {client, server}
            back = threading.Thread(target=_hand_on, args=(server, client), daemon=True)
            back.start()
            self._hand_on_and_count(client, server)
            back.join()
            with self._lock:
                self._open -= {client, server}

    def _hand_on_and_count(self, client: socket.socket, server: socket.socket) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while part := client.recv(65536):
                seen = rest + part
                last = 0
                for found in _ASKED.finditer(seen):
                    with self._lock:
                        self.asked[found[1].decode()] += 1
                    last = found.end()
                # A line that is not whole yet is looked at again with what follows.
                rest = seen[max(last, len(seen) - _LONGEST) :]
                server.sendall(part)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
