"""Finding a server's address in time.

The driver looks up the name for each new connection in the thread that waits for it, and no timeout of its
own ends that: a name server that is silent would hold a request for as long as the system likes.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pymongo import pool_shared

from webcall.resolver import AddressInfo, Resolver

_RESOLVER = Resolver()
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

    def getaddrinfo(self, host: str, port: int, family: int = 0, **kwargs: Any) -> Sequence[AddressInfo]:
        """Look up a name; the driver's own threads, for which nobody waits, take the time that it takes."""
        until = _until.get()
        if until is None:
            return socket.getaddrinfo(host, port, family, **kwargs)
        try:
            found = _RESOLVER.addresses(host, port).result(max(0.0, until - time.monotonic()))
        except TimeoutError:
            # No `TimeoutError`, which the driver would take for the server's silence, and no `gaierror`,
            # after which it closes all connections: those that are there need no name.
            raise OSError("its name is not looked up in time") from None
        return [each for each in found if family in (socket.AF_UNSPEC, each[0])]

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


# The driver takes no resolver of others.
pool_shared.socket = _Socket()  # type: ignore[attr-defined, assignment]
