"""What a watcher does about a room that is gone by the time it acts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from webcall.core.livekit_rooms import OpenRoom
from webcall.core.notices import Notice
from webcall.core.watch import acting
from webcall.core.watch.acting import Acts
from webcall.core.watch.claims import OnlyWatcher
from webcall.core.watch.counters import WatchCounters
from webcall.core.watch.known import Known


class Rooms:
    """Closes rooms by their names, as LiveKit does; after a notice another room has the name."""

    def __init__(self, sid: str, after: str) -> None:
        self.sid, self.after = sid, after
        self.closed: list[str] = []

    async def all(self, names: list[str]) -> list[OpenRoom]:
        return [OpenRoom(name, self.sid, "", 0.0, 0.0, 1) for name in names]

    async def tell(self, name: str, notice: Notice) -> None:
        self.sid = self.after

    async def close(self, name: str) -> None:
        self.closed.append(self.sid)


@pytest.mark.parametrize(("after", "closed"), [("RM_1", ["RM_1"]), ("RM_2", [])])
def test_only_the_room_that_was_judged_is_closed(
    monkeypatch: pytest.MonkeyPatch, after: str, closed: list[str]
) -> None:
    """A person who hangs up at the notice may be in the next call, in a room of the same name, at once."""
    monkeypatch.setattr(acting, "_ARRIVING_S", 0.0)
    rooms: Any = Rooms("RM_1", after)
    counters = WatchCounters()
    room = OpenRoom("a_1", "RM_1", "", 0.0, 0.0, 1)
    acts = Acts(rooms, OnlyWatcher(), counters)
    asyncio.run(acts.close(room, Known("RM_1"), Notice.time_is_up))
    assert rooms.closed == closed
