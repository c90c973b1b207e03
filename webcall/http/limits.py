"""Rates: how often a key, and an address, may ask. Counted by the storages and strategies of `limits`.

Not by Flask-Limiter over them: who is counted is known in the middle of a request only, after the key has
been looked up and before the body is read, and its storage's outages are this service's to handle.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache
from typing import Any, NamedTuple, cast

import structlog
from flask import Flask
from limits import RateLimitItemPerSecond
from limits.storage import RedisStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from webcall.core.services import Services
from webcall.core.storage import in_memory
from webcall.errors import TooMany
from webcall.http import current
from webcall.interfaces import Caller
from webcall.rates import Rate, parse_rate

log = structlog.stdlib.get_logger("webcall.limits")

PER_KEY = "This API key is past its rate of {rate}. Try again in {seconds} s."
PER_ADDRESS = "This address is past its rate of {rate}. Try again in {seconds} s."
FAILED = (
    "Too many requests without a valid API key came from this address: more than {rate}. "
    "A valid key works all the same; try another one in {seconds} s."
)
# In Redis, other programs' keys may stand beside these.
_PREFIX = "webcall"
_EXTENSION = "webcall.limits"


# A key's own is the same text in each of its requests.
_parsed = lru_cache(maxsize=256)(parse_rate)


class _Past(NamedTuple):
    """A limit is reached, and for how many seconds it stays so."""

    seconds: float


class Limits:
    """Counts requests, and turns away those past a rate."""

    def __init__(self, services: Services) -> None:
        """Take the services. Opens no connection."""
        self._config = services.config.limits
        self._health = services.storage_health
        uri = self._config.storage_uri
        # From the first request on, a window lasts its whole length: exact, and one number a key.
        self._strategy = FixedWindowRateLimiter(storage_from_string(uri, **self._options(uri)))

    def _options(self, storage_uri: str) -> dict[str, Any]:
        """Return what keeps a Redis that does not answer from holding requests up."""
        if in_memory(storage_uri):
            return {}
        from webcall.core.redis_in_time import drop_kept, make_pool

        pool = make_pool(storage_uri)
        self._health.on_drop(lambda: drop_kept(pool))
        return {"connection_pool": pool}

    def failed_authentication(self, address: str) -> None:
        """Count a request without a good key. Raises `TooMany` past the limit of its address."""
        self._count(self._config.failed_auth_per_address, FAILED, "failed", address)

    def request(self, caller: Caller, address: str) -> None:
        """Count a request of an authenticated caller. Raises `TooMany` past a limit.

        The address comes first: whoever is past its limit uses up nothing of what a page's other
        visitors share.
        """
        if caller.publishable:
            self._count(self._config.publishable_per_address, PER_ADDRESS, "page", address)
        self._count(self._rate_of(caller), PER_KEY, "key", caller.counted_as)

    def _rate_of(self, caller: Caller) -> Rate | None:
        if caller.rate_limit is None:
            return self._config.per_key
        try:
            return _parsed(caller.rate_limit)
        except ValueError:
            # Written by hand: neither no limit at all nor an outage for its owner.
            log.warning("rate_limit of a key cannot be read: the default holds", key=caller.key_id)
            return self._config.per_key

    def _count(self, rate: Rate | None, told: str, what: str, who: str) -> None:
        if rate is None:
            return
        past = self._health.ask(lambda: self._hit(rate, what, who), None)
        if past is not None:
            # Rounded up: whoever comes back then is let in.
            seconds = max(1, math.ceil(past.seconds))
            raise TooMany(seconds, told.format(rate=rate, seconds=seconds))

    def _hit(self, rate: Rate, what: str, who: str) -> _Past | None:
        strategy = self._strategy
        item = RateLimitItemPerSecond(rate.count, rate.per_s, namespace=_PREFIX)
        if strategy.hit(item, what, who):
            return None
        key, storage = item.key_for(what, who), strategy.storage
        if isinstance(storage, RedisStorage):
            # Its get_expiry knows whole seconds only, rounded.
            redis = cast(Any, storage.get_connection())
            return _Past(redis.pttl(storage.prefixed_key(key)) / 1000)
        return _Past(storage.get_expiry(key) - time.time())


def init_app(app: Flask, services: Services) -> None:
    """Make the limits of an application."""
    app.extensions[_EXTENSION] = Limits(services)


def limits() -> Limits:
    """Return the limits of the application that answers."""
    return cast(Limits, current.application().extensions[_EXTENSION])
