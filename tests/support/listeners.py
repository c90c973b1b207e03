"""Listening sockets of the tests' own servers."""

from __future__ import annotations

import contextlib
import socket


def stop_listening(listener: socket.socket) -> None:
    """Close a listener that a thread accepts on.

    Without the shutdown that thread stays in its call and holds the port, and whatever interrupts the call
    lets it begin again, on the next socket that has got this one's number: another test's.
    """
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
