"""Kept connections to LiveKit, for request threads.

A request thread sends and waits itself. To hand the same exchange to an event loop in another thread costs
twenty times the processor time of sending it (benchmarks/PROFILE.md). Only opening a connection, which is
rare, is left to the loop: addresses are tried there, where that can be given up, and names waited for.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
import time
from collections import deque
from concurrent import futures
from urllib.parse import urlsplit

import aiohappyeyeballs

from webcall.core.http_connection import Answer, Broken, HttpConnection, NotReached
from webcall.loop_thread import LoopThread
from webcall.resolver import Resolver

# A connection that has been idle for longer may have been forgotten on the way (aiohttp's own default).
KEPT_S = 15.0
# RFC 8305, section 5: how long an address has before the next one is tried as well.
_NEXT_ADDRESS_S = 0.25


class Connections:
    """The connections of one process to one server. May be used in any thread."""

    def __init__(self, address: str, loop: LoopThread) -> None:
        """Take an `http` or `https` address, and the loop that opens connections. Opens nothing."""
        parts = urlsplit(address)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._loop = loop
        self._resolver = Resolver()
        self._lock = threading.Lock()
        # Those that were idle for longest stand first.
        self._kept: deque[HttpConnection] = deque()
        self._generation = 0
        self._pid = os.getpid()
        self._context: ssl.SSLContext | None = None

    def exchange(self, request: bytes, until: float) -> Answer:
        """Send a whole request and return the answer to it.

        Raises `NotReached`, `Broken`, `ssl.SSLError` for a TLS connection that cannot be made, httptools'
        errors for what is no HTTP, and `TimeoutError` where all that took until `until` (of the monotonic
        clock). After a time-out and after a connection that broke, all kept ones are given up: a server that
        restarts, or a firewall that forgets, ends all of them at once, without a sign of it to this side.
        """
        if time.monotonic() >= until:
            raise TimeoutError
        connection = self._take() or self._open(until)
        try:
            answer, keeps = connection.exchange(request, until)
        except BaseException as error:
            connection.close()
            if isinstance(error, Broken | TimeoutError):
                self._give_up(connection.generation)
            raise
        if keeps:
            self._keep(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close all that is idle now, and what is in use when its exchange has ended."""
        self._give_up(self._generation)

    def _take(self) -> HttpConnection | None:
        if self._pid != os.getpid():
            with self._lock:
                # After a fork: they are the parent's.
                self._pid, self._kept, self._generation = os.getpid(), deque(), self._generation + 1
        while True:
            with self._lock:
                if not self._kept:
                    return None
                connection = self._kept.pop()
            if time.monotonic() - connection.idle_since < KEPT_S and connection.is_quiet:
                return connection
            connection.close()

    def _keep(self, connection: HttpConnection) -> None:
        connection.idle_since = time.monotonic()
        with self._lock:
            if connection.generation == self._generation:
                self._kept.append(connection)
                connection = self._kept[0]
                if time.monotonic() - connection.idle_since < KEPT_S:
                    return
                self._kept.popleft()
        connection.close()

    def _give_up(self, generation: int) -> None:
        with self._lock:
            if generation != self._generation:
                return
            kept, self._kept, self._generation = self._kept, deque(), generation + 1
        for connection in kept:
            connection.close()

    def _open(self, until: float) -> HttpConnection:
        generation = self._generation
        connection = HttpConnection(self._connected(until), generation)
        try:
            if self._tls:
                if self._context is None:
                    self._context = ssl.create_default_context()
                connection.begin_tls(self._context, self._host, until)
        except BaseException as error:
            connection.close()
            # A time-out with a number is the kernel's, one without is ours.
            ours = isinstance(error, TimeoutError) and error.errno is None
            if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and not ours:
                raise NotReached(*error.args) from error
            raise
        return connection

    def _connected(self, until: float) -> socket.socket:
        opening = self._loop.submit(self._connect())
        futures.wait([opening], max(0.0, until - time.monotonic()))
        if not opening.done():
            opening.cancel()
            opening.add_done_callback(_close_what_came_late)
            raise TimeoutError
        try:
            return opening.result()
        except OSError as error:
            # The kernel's own time-out is one of these.
            raise NotReached(*error.args) from error

    async def _connect(self) -> socket.socket:
        addresses = await asyncio.wrap_future(self._resolver.addresses(self._host, self._port))
        made = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def _close_what_came_late(opening: futures.Future[socket.socket]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
