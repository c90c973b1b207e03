"""The tests' own servers: one of a handler's, one of a folder's files, and how to end any other."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Quiet(BaseHTTPRequestHandler):
    """Base of handlers, which writes no line for each request."""

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class _Files(Quiet, SimpleHTTPRequestHandler):
    pass


@contextlib.contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serve HTTP on a free loopback port while the block runs; give the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """Serve a folder's files while the block runs; give the address."""
    with serving(functools.partial(_Files, directory=str(folder))) as port:
        yield f"http://127.0.0.1:{port}"


def stop_listening(listener: socket.socket) -> None:
    """Close a listener that a thread accepts on.

    Without the shutdown that thread stays in its call and holds the port, and whatever interrupts the call
    lets it begin again, on the next socket that has got this one's number: another test's.
    """
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
