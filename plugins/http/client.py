"""The requests themselves: signed, pooled, bounded in time and size.

On an event loop in a thread of its own, since that alone bounds a whole exchange, a server that drips its
answer byte by byte included.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import time
from collections.abc import Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import aiohttp

from plugins.http.signing import ANSWER_HEADER, REQUEST_HEADER, is_signed_answer, sign_request
from webcall import BackendError
from webcall.client_resolver import ClientResolver
from webcall.loop_thread import LoopThread
from webcall.pools import Pools
from webcall.resolver import Resolver

# For what comes around the exchange: the hop to the loop, and its turn there.
_SLACK_S = 0.5


class NotMine(Exception):
    """The service does not know it: a signed 404 or 401."""


class Denied(Exception):
    """The service knows it, and says no: a signed 403."""


class Client:
    """One service, asked over one pool of connections. Opens nothing before it is first used."""

    def __init__(
        self,
        url: str,
        secret: tuple[str, ...],
        timeout_s: float,
        max_connections: int,
        max_answer_bytes: int,
        ca_file: str,
    ) -> None:
        self._url = url.rstrip("/")
        self._secrets = secret
        self._timeout_s = timeout_s
        self._max_connections = max_connections
        self._max_answer_bytes = max_answer_bytes
        self._ca_file = ca_file
        self._loop = LoopThread("http backend")
        self._resolver = ClientResolver(Resolver())
        self._pools = Pools(self._new_session, lambda session: session.close())

    def ask(self, what: str, question: Mapping[str, Any]) -> Any:
        """Return the JSON of the service's answer to a question about `what`: `keys` or `assistants`.

        Raises `NotMine`, `Denied`, and `BackendError` for everything that is not a signed answer, in
        time.
        """
        body = json.dumps(question).encode()
        asked = self._loop.submit(self._bounded(what, body))
        try:
            status, content = asked.result(timeout=self._timeout_s + _SLACK_S)
        except (FutureTimeoutError, TimeoutError):
            asked.cancel()
            raise BackendError(f"http: no answer within {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, ssl.SSLError, OSError, ValueError) as error:
            # Its text may hold the address with more in it than an operator wants in a log.
            raise BackendError(f"http: {type(error).__name__}") from error
        if status in (401, 404):
            raise NotMine
        if status == 403:
            raise Denied
        if status != 200:
            raise BackendError(f"http: answered {status}")
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise BackendError("http: the answer is not JSON") from None

    def close(self) -> None:
        """Close the connections of this process and end its thread."""
        if self._loop.running:
            self._loop.submit(self._pools.close()).result(timeout=5)
            self._loop.close()

    async def _bounded(self, what: str, body: bytes) -> tuple[int, bytes]:
        async with asyncio.timeout(self._timeout_s):
            try:
                return await self._exchange(what, body)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
                # Once: a kept connection that the service closed meanwhile. A question may be asked twice.
                return await self._exchange(what, body)

    async def _exchange(self, what: str, body: bytes) -> tuple[int, bytes]:
        async with self._pools.use() as session:
            try:
                return await self._signed(session, what, body)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
                self._pools.retire(session)
                raise

    async def _signed(self, session: aiohttp.ClientSession, what: str, body: bytes) -> tuple[int, bytes]:
        nonce = secrets.token_hex(16)
        signature = sign_request(self._secrets[0], what, body, now_s=int(time.time()), nonce=nonce)
        headers = {
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            REQUEST_HEADER: signature,
        }
        async with session.post(
            f"{self._url}/{what}", data=body, headers=headers, allow_redirects=False
        ) as answer:
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise BackendError("http: the answer is compressed, though that was not asked for")
            content = await self._read(answer)
            signed = answer.headers.get(ANSWER_HEADER, "")
            if not is_signed_answer(self._secrets, signed, what, content, status=answer.status, nonce=nonce):
                # A proxy's 404, or somebody else's answer: it says nothing about the key.
                raise BackendError(f"http: answered {answer.status} without a good signature")
            return answer.status, content

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        parts, size = [], 0
        async for part in answer.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._max_answer_bytes:
                raise BackendError(f"http: the answer is larger than {self._max_answer_bytes} bytes")
        return b"".join(parts)

    def _new_session(self) -> aiohttp.ClientSession:
        context = ssl.create_default_context(cafile=self._ca_file or None)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, ssl=context, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            # None here: a whole exchange is bounded around it.
            timeout=aiohttp.ClientTimeout(total=None),
            # As it stands, never inflated: a small answer may not become a large one.
            auto_decompress=False,
            trust_env=False,
        )
