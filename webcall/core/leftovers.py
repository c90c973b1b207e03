"""Rooms that may have come to be although nobody was told: found in the background, and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from livekit import api

from webcall.errors import LiveKitError

log = structlog.stdlib.get_logger("webcall.livekit")

Exchange = Callable[[Callable[[api.LiveKitAPI], Awaitable[Any]]], Awaitable[Any]]

PAUSE_S = 1.0
# LiveKit may carry a request out late. A room that comes later still closes by its empty_timeout.
KEPT_S = 60.0
_MOST_KEPT = 1000
_MOST_AT_ONCE = 100


class Leftovers:
    """Remembers rooms whose creation was not answered. Belongs to one event loop."""

    def __init__(self, exchange: Exchange) -> None:
        """Take the function that bounds an exchange with LiveKit and raises `LiveKitError`."""
        self._exchange = exchange
        self._doubtful: dict[str, tuple[str, float]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, name: str, metadata: str) -> None:
        """Look for the room for a minute. It is deleted only if it has this metadata, and thus is ours."""
        if len(self._doubtful) >= _MOST_KEPT:
            return
        loop = asyncio.get_running_loop()
        self._doubtful[name] = (metadata, loop.time() + KEPT_S)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._look())

    async def _look(self) -> None:
        # One request for all of them, once a pause: LiveKit is likely to be slow just now.
        while self._doubtful:
            await asyncio.sleep(PAUSE_S)
            names = list(self._doubtful)[:_MOST_AT_ONCE]
            try:
                asked = api.ListRoomsRequest(names=names)
                found = await self._exchange(lambda client, asked=asked: client.room.list_rooms(asked))  # type: ignore[misc]
                for room in found.rooms:
                    if room.metadata == self._doubtful[room.name][0]:
                        await self._delete(room.name)
            except LiveKitError:
                pass
            self._put_back(names)

    async def _delete(self, name: str) -> None:
        asked = api.DeleteRoomRequest(room=name)
        await self._exchange(lambda client: client.room.delete_room(asked))
        del self._doubtful[name]
        log.info("removed a room whose creation was not answered", room=name)

    def _put_back(self, names: list[str]) -> None:
        """Forget the old ones, and let the others have their turn after those not asked for yet."""
        now = asyncio.get_running_loop().time()
        for name in names:
            kept = self._doubtful.pop(name, None)
            if kept is not None and kept[1] > now:
                self._doubtful[name] = kept
