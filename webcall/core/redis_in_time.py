"""Connections to Redis that end in time, whatever becomes of it. Needs the extra `redis`.

redis-py's timeouts are for one read each, so that a server that drips its answer is waited for without end,
and it looks up the server's name without any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from webcall.core.storage import TIMEOUT_S
from webcall.resolver import Resolver

# More than request threads: redis-py's own bound of 100 would look like an outage.
MOST_CONNECTIONS = 2048
_RESOLVER = Resolver()


def make_pool(storage_uri: str, *, repeats: int = 1) -> redis.ConnectionPool:
    """Return a pool of connections that have `TIMEOUT_S` for a command and its answer. Opens none.

    As much again may go into connecting before, and into finding the server's address before that.
    `repeats` is for a connection that has gone stale; of a silent Redis nothing more is asked. What is asked
    may be carried out twice.
    """
    pool = redis.ConnectionPool.from_url(
        storage_uri,
        max_connections=MOST_CONNECTIONS,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), repeats, supported_errors=(redis.ConnectionError,)),
    )
    if issubclass(pool.connection_class, redis.Connection):
        tls = issubclass(pool.connection_class, redis.SSLConnection)
        pool.connection_class = InTimeTLS if tls else InTime
    return pool


def drop_kept(pool: redis.ConnectionPool) -> None:
    """Close the connections that nobody uses just now.

    For when one was silent: the others may be half-open as well, without a peer, and nobody was told.
    """
    pool.disconnect(inuse_connections=False)


class _InTime:
    """What a connection does to end in time; stands before redis-py's own class."""

    _until = 0.0
    _greeting = False

    def _connect(self) -> Any:
        sock = super()._connect()  # type: ignore[misc]
        self._until = time.monotonic() + TIMEOUT_S
        return _Socket(sock, lambda: self._until)

    def on_connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        """Greet the server: several commands, in the time of one."""
        self._greeting = True
        try:
            super().on_connect_check_health(*args, **kwargs)  # type: ignore[misc]
        finally:
            self._greeting = False

    def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        """Send a command; its answer has `TIMEOUT_S` from now."""
        if not self._greeting:
            self._until = time.monotonic() + TIMEOUT_S
        super().send_packed_command(*args, **kwargs)  # type: ignore[misc]


class _ByAddress(redis.Connection):
    """Finds the server's addresses in time, and tries each."""

    def _connect(self) -> Any:
        name, failed = self.host, OSError("no address")
        try:
            for address in _addresses(name, self.port):
                self.host = address
                try:
                    return super()._connect()  # type: ignore[no-untyped-call]
                except OSError as error:
                    failed = error
        finally:
            # By the name a certificate is checked.
            self.host = name
        raise failed


class InTime(_InTime, _ByAddress):
    """A connection in plain."""


class InTimeTLS(_InTime, redis.SSLConnection, _ByAddress):
    """A connection in TLS."""


class _Socket:
    """A socket whose reads end at a moment, however many they are; as long again for what is there."""

    def __init__(self, sock: Any, until: Callable[[], float]) -> None:
        self._sock = sock
        self._until = until

    def recv(self, size: int) -> bytes:
        """Receive; raises `TimeoutError`."""
        data: bytes = self._in_time(self._sock.recv, size)
        return data

    def recv_into(self, *args: Any) -> int:
        """Receive; raises `TimeoutError`."""
        size: int = self._in_time(self._sock.recv_into, *args)
        return size

    def _in_time(self, receive: Callable[..., Any], *args: Any) -> Any:
        timeout_s = self._sock.gettimeout()
        left_s = self._until() - time.monotonic()
        if not timeout_s or timeout_s <= left_s + 0.05:
            # Without waiting at all, or the first read of an answer.
            return receive(*args)
        if left_s <= -TIMEOUT_S:
            raise TimeoutError
        # What has come in time is read even where this process gets to it late: it may be short of CPU.
        self._sock.settimeout(max(left_s, 0.001))
        try:
            return receive(*args)
        finally:
            self._sock.settimeout(timeout_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host; `TimeoutError` if they are not found in time."""
    try:
        found = _RESOLVER.addresses(host, port).result(TIMEOUT_S)
    except TimeoutError:
        raise TimeoutError("its name is not looked up in time") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
