"""The watcher where LiveKit's clock is not this machine's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import pytest

from tests.support.calls import livekit_config
from tests.support.livekit import LiveKitServer
from tests.support.watch import RULES
from webcall.config.settings import WatchConfig
from webcall.core.livekit import LiveKit
from webcall.core.livekit_rooms import OpenRoom, OpenRooms, Present, Sent
from webcall.core.watch.claims import OnlyWatcher
from webcall.core.watch.counters import WatchCounters
from webcall.core.watch.watcher import Watcher

OURS = json.dumps({"web_call": {"max_duration_s": 3600}})


class Waiting(OpenRooms):
    """A LiveKit whose clock is ahead, and one room in it, in which a person waits for an assistant."""

    def __init__(self, livekit: LiveKit, ahead_s: float) -> None:
        super().__init__(livekit)
        self.ahead_s = ahead_s
        self.began = self.now()
        self.done: asyncio.Queue[str] = asyncio.Queue()

    def now(self) -> float:
        return time.time() + self.ahead_s

    async def all(self, names: Sequence[str] = ()) -> list[OpenRoom]:
        return [OpenRoom("room", "RM_1", json.dumps({"nonce": "0" * 32}), self.began, 120, 1)]

    async def present(self, name: str) -> Present:
        return Present(1, frozenset(), self.began)

    async def sent(self, name: str) -> list[Sent]:
        return [Sent("agent", OURS, self.began, frozenset())]

    async def send_again(self, name: str, dispatch: Sent) -> None:
        self.done.put_nowait("sent again")

    async def close(self, name: str) -> None:
        self.done.put_nowait("closed")


@pytest.mark.parametrize("ahead_s", [600, -600, -7200])
def test_a_person_gets_an_assistant_whatever_the_clocks_say(
    livekit_server: LiveKitServer, ahead_s: float
) -> None:
    """Ages of dispatches and lengths of calls go by LiveKit's clock: nobody waits longer or is put out."""

    async def first_act() -> str:
        rooms = Waiting(LiveKit(livekit_config(livekit_server)), ahead_s)
        watcher = Watcher(rooms, WatchConfig(bind="", **RULES), OnlyWatcher(), WatchCounters())
        running = asyncio.create_task(watcher.run())
        try:
            return await asyncio.wait_for(rooms.done.get(), 20)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    assert asyncio.run(first_act()) == "sent again"
