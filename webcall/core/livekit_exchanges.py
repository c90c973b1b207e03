"""Exchanges with LiveKit: bounded in time, repeated once, over one pool of connections per process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import aiohttp
from livekit import api

from webcall.client_resolver import ClientResolver
from webcall.config.settings import LiveKitConfig
from webcall.core.livekit_faults import BROKEN, asked_before, explain
from webcall.core.server_clock import ServerClock
from webcall.errors import LiveKitError
from webcall.pools import Pools
from webcall.resolver import Resolver

T = TypeVar("T")


class Client(NamedTuple):
    """LiveKit's own client, and the session with the connections that it uses."""

    session: aiohttp.ClientSession
    api: api.LiveKitAPI


class Exchanges:
    """Asks one LiveKit server inside an event loop, and blocks nothing: who asks awaits the answer.

    Request threads have `webcall.core.livekit_requests.Requests`. Opens nothing before the first question.
    """

    def __init__(self, config: LiveKitConfig, clock: ServerClock) -> None:
        """Take the settings, and what is to hear the time of each answer."""
        self._config = config
        self._clock = clock
        self._resolver = ClientResolver(Resolver())
        self._pools = Pools(self._new_client, _close)
        self.closing = False
        """Set while the process ends: then no new client is made, which nobody would close."""

    async def ask(self, call: Callable[[api.LiveKitAPI], Awaitable[T]]) -> T:
        """Return what `call` returns, within `livekit.timeout_s` in all. Raises `LiveKitError`.

        `call` is made again, once, if the connection broke: it has to be a request that may come twice.
        """
        return await self.bounded(lambda client: call(client.api))

    async def bounded(self, call: Callable[[Client], Awaitable[T]]) -> T:
        """Do as `ask` does with what needs the session, too."""
        try:
            return await asyncio.wait_for(self._with_one_repeat(call), self._config.timeout_s)
        except TimeoutError:
            raise LiveKitError("timeout", f"no answer within {self._config.timeout_s:g} s") from None
        except Exception as error:
            # livekit-api lets more than its own errors through: an answer of another form is enough.
            raise explain(error, self._clock.ahead_s) from error

    async def close(self) -> None:
        """Close the connections of this loop."""
        await self._pools.close()

    async def _with_one_repeat(self, call: Callable[[Client], Awaitable[T]]) -> T:
        try:
            return await self._once(call)
        except aiohttp.ClientConnectorError:
            raise
        except BROKEN as broken:
            with asked_before(broken):
                return await self._once(call)

    async def _once(self, call: Callable[[Client], Awaitable[T]]) -> T:
        async with self._pools.use() as client:
            try:
                return await call(client)
            except aiohttp.ClientConnectorError:
                raise
            except BROKEN:
                self._pools.retire(client)
                raise

    async def _hear(self, _: aiohttp.ClientSession, __: Any, ended: aiohttp.TraceRequestEndParams) -> None:
        if date := ended.response.headers.get("Date"):
            self._clock.hear(date)

    def _new_client(self) -> Client:
        if self.closing:
            # A ping, say, that has seen its connection go.
            raise aiohttp.ClientConnectionError
        listening = aiohttp.TraceConfig()
        listening.on_request_end.append(self._hear)
        session = aiohttp.ClientSession(
            trace_configs=[listening],
            # No limit and no timeout here: the gate bounds the calls, wait_for the time.
            connector=aiohttp.TCPConnector(limit=0, resolver=self._resolver),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        config = self._config
        made = api.LiveKitAPI(config.url, config.api_key, config.api_secret, session=session, failover=False)
        return Client(session, made)


async def _close(client: Client) -> None:
    await client.session.close()
