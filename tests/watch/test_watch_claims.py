"""Several watchers, one of which acts."""

from __future__ import annotations

import asyncio

from tests.support.redis import RedisServer
from webcall.core.watch.claims import OnlyWatcher, RedisClaims, claims_for


def test_one_of_several_watchers_acts(redis_uri: str) -> None:
    """Of watchers that claim the same step one gets it, for a while; another step is another claim."""

    async def claim() -> None:
        watchers = [claims_for(redis_uri) for _ in range(5)]
        assert all(isinstance(watcher, RedisClaims) for watcher in watchers)
        taken = await asyncio.gather(*(watcher.take("room:1", 0.3) for watcher in watchers))
        assert sorted(map(bool, taken)) == [False] * 4 + [True]
        assert await watchers[0].take("room:2", 0.3)
        while not await watchers[1].take("room:1", 30):
            await asyncio.sleep(0.02)
        for watcher in watchers:
            await watcher.close()

    asyncio.run(claim())


def test_a_claim_stays_its_watchers(redis_uri: str) -> None:
    """A watcher whose act failed may act again, for as long anew, and another one may not meanwhile."""

    async def claim() -> None:
        first, second = RedisClaims(redis_uri), RedisClaims(redis_uri)
        assert await first.take("room:1", 30)
        assert await first.take("room:1", 30)
        assert await second.take("room:1", 30) is False
        for watcher in (first, second):
            await watcher.close()

    asyncio.run(claim())


def test_an_outage_is_told_apart_from_a_no(redis_outage: RedisServer) -> None:
    """While Redis does not answer nobody can tell, and when it is back claims are taken again."""

    async def claim() -> None:
        claims, other = claims_for(redis_outage.uri), claims_for(redis_outage.uri)
        assert await claims.take("a", 30) is True
        with redis_outage.frozen():
            assert await claims.take("b", 30) is None
        assert await other.take("a", 30) is False
        for watcher in (claims, other):
            await watcher.close()

    asyncio.run(claim())


def test_without_redis_there_is_one_watcher() -> None:
    """With limits in memory every claim is the watcher's own."""

    async def claim() -> None:
        claims = claims_for("memory://")
        assert isinstance(claims, OnlyWatcher)
        assert await claims.take("a", 30)
        assert await claims.take("a", 30)

    asyncio.run(claim())
