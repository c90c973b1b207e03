"""How a call ends, and what becomes of its room."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import structlog
from livekit import api
from livekit.agents import JobContext

from webcall.core.endings import WORD
from webcall.core.notices import Notice
from webcall.observed import EndedBy

LAST_SENTENCE = "I am sorry, our time is up, and this call ends now. Goodbye."

_NOTING_S = 1.0
_LOOKING_S = 1.0
_DELETING_S = 3.0

log = structlog.stdlib.get_logger("webcall.worker.ending")


@dataclass(frozen=True, slots=True)
class End:
    """How a call ends: why, for the log; who ended it; and what the person is told, if anything."""

    why: str
    by: EndedBy = "outage"
    notice: Notice | None = None
    last_sentence: str | None = None
    keep_room: bool = False


HUNG_UP = End("hung up", "caller")
LOST = End("did not come back", "connection")
ANOTHER_IS_HERE = End("another assistant is here", keep_room=True)
ASSISTANT_ENDED_IT = End("the assistant ended it", "assistant", Notice.goodbye)
TIME_IS_UP = End("time is up", "time", Notice.time_is_up, last_sentence=LAST_SENTENCE)
STOPPED = End("stopped from outside", notice=Notice.shutting_down)
# Whoever comes later meets the room, as their token says, and gets another assistant.
STOPPED_WAITING = End("stopped from outside", keep_room=True)
ROOM_CLOSED = End("room closed", keep_room=True)


async def close_room(context: JobContext, by: EndedBy) -> None:
    """Note for the service who ended the call, and delete the room, so that nobody sits in it alone.

    It takes a few seconds at most, whatever LiveKit does.
    """
    # LiveKit's event about this participant's leaving holds it; so it has to be there before the room goes.
    # Without it a person who said goodbye looks like one who was put out by the room's end.
    # Not by the SDK's `set_attributes`: it misses an answer that comes at once, and waits on for seconds.
    note = api.UpdateParticipantRequest(
        room=context.room.name, identity=context.room.local_participant.identity, attributes={WORD: by}
    )
    with contextlib.suppress(Exception):
        await asyncio.wait_for(context.api.room.update_participant(note), _NOTING_S)
    if await _is_another_one(context):
        return
    try:
        await asyncio.wait_for(context.delete_room(), _DELETING_S)
    except Exception as error:
        log.warning("room not deleted", error=type(error).__name__)


async def _is_another_one(context: JobContext) -> bool:
    """Return whether the room is gone, whoever has its name now.

    LiveKit may have closed it a moment ago, and a repeat of the request have made one of the same name, with
    a call of its own. A LiveKit that does not tell is asked to delete the room all the same.
    """
    asked = api.ListRoomsRequest(names=[context.room.name])
    try:
        found = await asyncio.wait_for(context.api.room.list_rooms(asked), _LOOKING_S)
    except Exception:
        return False
    return context.job.room.sid not in [room.sid for room in found.rooms]
