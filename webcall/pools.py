"""Pools of kept connections: one in use, and those that still have requests in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Pool(Generic[T]):
    client: T
    loop: asyncio.AbstractEventLoop
    in_flight: int = 0


class Pools(Generic[T]):
    """Gives the client in use, and another one when its kept connections cannot be trusted any more.

    A server that restarts, or a firewall that forgets, ends all kept connections at once, without a sign of
    it to this side; each that is used then costs a request its only repeat, or its whole time.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[None]]) -> None:
        """Take what makes a client, inside the loop that it belongs to, and what closes it.

        Nothing is made before the first request. After a fork there is a new loop, and with it a new client.
        """
        self._make = make
        self._close = close
        self._current: _Pool[T] | None = None
        self._retired: set[_Pool[T]] = set()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[T]:
        """Give the client in use for one request. Later requests get another if this one is cancelled."""
        pool = self._current
        if pool is None or pool.loop is not asyncio.get_running_loop():
            pool = self._current = _Pool(self._make(), asyncio.get_running_loop())
        pool.in_flight += 1
        try:
            yield pool.client
        except asyncio.CancelledError:
            # Its time was over.
            self._retire(pool)
            raise
        finally:
            pool.in_flight -= 1
            if pool in self._retired and not pool.in_flight:
                self._retired.discard(pool)
                await self._close(pool.client)

    def retire(self, client: T) -> None:
        """Give later requests another client, since a connection broke that was there.

        This one is closed when its last request has ended.
        """
        if self._current is not None and self._current.client is client:
            self._retire(self._current)

    def _retire(self, pool: _Pool[T]) -> None:
        if pool is self._current:
            self._current = None
            self._retired.add(pool)

    async def close(self) -> None:
        """Close the clients of this loop, with what is in flight. A later request makes a new one."""
        pools = [*self._retired, *([] if self._current is None else [self._current])]
        self._current, self._retired = None, set()
        for pool in pools:
            if pool.loop is asyncio.get_running_loop():
                with suppress(Exception):
                    await self._close(pool.client)
