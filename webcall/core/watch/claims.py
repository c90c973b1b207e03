"""Who of several watchers acts: a claim on one step in one room, for a while."""

from __future__ import annotations

import secrets
from typing import Protocol

import structlog

from webcall.core.storage import TIMEOUT_S, in_memory

log = structlog.stdlib.get_logger("webcall.watch")

_PREFIX = "webcall:watch:"

# A claim whose act failed is its watcher's still. KEYS: the claim. ARGV: the watcher, for how long (ms).
_TAKE = """
local by = redis.call('GET', KEYS[1])
if by and by ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


class Claims(Protocol):
    """Gives each claim to one watcher."""

    async def take(self, what: str, within_s: float) -> bool | None:
        """Return whether the claim is this watcher's for so many seconds; None if nobody can tell now."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


class OnlyWatcher:
    """The claims of a watcher that is the only one: all of them."""

    async def take(self, what: str, within_s: float) -> bool | None:
        """Return True."""
        return True

    async def close(self) -> None:
        """Do nothing."""


class RedisClaims:
    """Claims in Redis, for as many watchers as there are. Needs the extra `redis`."""

    def __init__(self, storage_uri: str) -> None:
        """Take `limits.storage_uri`. Opens no connection."""
        # Without several watchers the extra is not needed.
        from redis import asyncio as redis

        self._client = redis.Redis.from_url(
            storage_uri, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        )
        self._take = self._client.register_script(_TAKE)
        self._mine = secrets.token_hex(8)
        self._down = False

    async def take(self, what: str, within_s: float) -> bool | None:
        """Return whether the claim is this watcher's, anew or still; None while Redis does not answer."""
        try:
            taken = await self._take(keys=[_PREFIX + what], args=[self._mine, round(within_s * 1000)])
        except Exception as error:
            if not self._down:
                log.error("watchers cannot agree", error=type(error).__name__)
            self._down = True
            return None
        if self._down:
            log.warning("watchers can agree again")
        self._down = False
        return bool(taken)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def claims_for(storage_uri: str) -> Claims:
    """Return the claims that `limits.storage_uri` allows for."""
    return OnlyWatcher() if in_memory(storage_uri) else RedisClaims(storage_uri)
