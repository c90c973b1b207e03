"""What a watcher does about a room: send another assistant, or tell the person and close it.

Each act is claimed first, and what it rests upon is looked at once more: somebody may have come, or another
watcher may have acted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

import structlog

from webcall.core.livekit_rooms import OpenRoom, OpenRooms
from webcall.core.notices import Notice
from webcall.core.watch.claims import Claims
from webcall.core.watch.counters import WatchCounters
from webcall.core.watch.judging import Departure, SendAgain
from webcall.core.watch.known import Known
from webcall.errors import LiveKitError

log = structlog.stdlib.get_logger("webcall.watch")

# A claim outlives the exchanges of one act, and no more: whoever took it may have been killed.
_CLAIMED_S = 20.0
# Where watchers cannot agree they act after a pause of their own, and look again before.
_APART_S = 2.0
# What was sent in a room just before it is closed may not arrive (docs/livekit.md).
_ARRIVING_S = 0.5


class Acts:
    """Acts in the rooms of one LiveKit. Every method raises `LiveKitError`."""

    def __init__(self, rooms: OpenRooms, claims: Claims, counters: WatchCounters) -> None:
        self._rooms = rooms
        self._claims = claims
        self._counters = counters

    async def send_again(self, room: OpenRoom, known: Known, verdict: SendAgain, sent_before: int) -> bool:
        """Send another assistant; return False where that is not this watcher's, or needless by now.

        `sent_before` is how many dispatches the room had when it was judged.
        """
        if not await self._may_act(f"{room.sid}:{sent_before}"):
            return False
        dispatches, present = await asyncio.gather(
            self._rooms.sent(room.name), self._rooms.present(room.name)
        )
        known.note(present, self._rooms.now())
        if known.alone_since is None or len(dispatches) != sent_before:
            return False
        died = known.departure is Departure.died
        await self._rooms.send_again(room.name, verdict.dispatch)
        self._counters.repaired.inc()
        log.warning("assistant sent again", room=room.name, again=verdict.tried + 1, died=died)
        known.departure = Departure.unknown
        return True

    async def close(self, room: OpenRoom, known: Known, notice: Notice) -> None:
        """Tell the person, and close the room."""
        if not await self._may_act(f"{room.sid}:{notice.name}"):
            return
        if notice is not Notice.time_is_up:
            known.note(await self._rooms.present(room.name), self._rooms.now())
            if known.alone_since is None:
                return
        with contextlib.suppress(LiveKitError):
            await self._rooms.tell(room.name, notice)
            await asyncio.sleep(_ARRIVING_S)
        # LiveKit closes by the name, which with an Idempotency-Key may be the next call's by now.
        if room.sid not in [one.sid for one in await self._rooms.all([room.name])]:
            return
        await self._rooms.close(room.name)
        self._counters.closed.labels(notice.name).inc()
        if notice is Notice.no_assistant:
            log.error("no assistant came", room=room.name)
        log.warning("room closed", room=room.name, notice=notice.name)

    async def _may_act(self, what: str) -> bool:
        mine = await self._claims.take(what, _CLAIMED_S)
        if mine is None:
            await asyncio.sleep(random.uniform(0, _APART_S))  # noqa: S311  # nosec B311  # no secret
        return mine is not False
