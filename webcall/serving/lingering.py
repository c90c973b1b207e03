"""Connections that are answered and closed on this side, until the client has the answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

from webcall.serving.parked import Parked

# How long such a connection is read on, so that the answer arrives (RFC 9112, 9.6).
LINGER_S = 2.0


class Lingering(Parked):
    """Parks such connections, and reads what nobody wants; `expired` gives those to be closed."""

    def __init__(self, poller: Any, close: Callable[[Any], None]) -> None:
        super().__init__(poller, LINGER_S, self._read_on)
        self._close = close

    def say_goodbye(self, conn: Any) -> None:
        """Close the connection when the client has, so that the answer arrives; it has so long for it."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            self._close(conn)
        else:
            conn.read_until = time.monotonic() + LINGER_S
            self._read_on(conn)

    def _read_on(self, conn: Any) -> None:
        try:
            if conn.sock.recv(65536) and time.monotonic() < conn.read_until:
                self.add(conn)
            else:
                self._close(conn)
        except BlockingIOError:
            self.add(conn)
        except OSError:
            self._close(conn)
