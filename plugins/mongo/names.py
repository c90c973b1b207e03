"""Finding a server's address in time.

The driver looks up the name for each new connection in the thread that waits for it, and no timeout of its
own ends that: a name server that is silent would hold a request for as long as the system likes.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pymongo import pool_shared

_until: ContextVar[float | None] = ContextVar("_until", default=None)


@contextmanager
def looked_up_within(timeout_s: float) -> Iterator[None]:
    """Let each look-up of a server's name inside end with an `OSError` after so many seconds in all."""
    before = _until.set(time.monotonic() + timeout_s)
    try:
        yield
    finally:
        _until.reset(before)


class _Socket:
    """The module `socket` as the driver's connections see it."""

    def getaddrinfo(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Look up a name; the driver's own threads, for which nobody waits, take the time that it takes."""
        until = _until.get()
        if until is None:
            return socket.getaddrinfo(*args, **kwargs)
        return _ask(until, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


def _ask(until: float, *args: Any, **kwargs: Any) -> list[Any]:
    found: list[Any] = []
    failed: list[Exception] = []

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(*args, **kwargs))
        except Exception as error:
            failed.append(error)

    # The system's own look-up cannot be ended.
    asking = threading.Thread(target=ask, name="mongo address", daemon=True)
    asking.start()
    asking.join(max(0.0, until - time.monotonic()))
    if failed and isinstance(failed[0], OSError):
        raise failed[0]
    if failed:
        # A name that no look-up can be made of is a `UnicodeError`, which the driver does not expect.
        raise OSError("its name cannot be looked up") from failed[0]
    if not found:
        # No `TimeoutError`, which the driver would take for the server's silence, and no `gaierror`, after
        # which it closes all connections: those that are there need no name.
        raise OSError("its name is not looked up in time")
    return found


# The driver takes no resolver of others.
pool_shared.socket = _Socket()  # type: ignore[attr-defined, assignment]
