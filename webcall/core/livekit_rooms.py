"""What is asked of LiveKit about rooms that are open: who is in them, and who was sent there.

For `flask webcall watch`, which has an event loop of its own: the questions go out on the client, the
connections and the bounds of `webcall.core.livekit.LiveKit`, and are awaited here. Every method raises
`LiveKitError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from livekit import api

from webcall.core.livekit import LiveKit
from webcall.core.notices import TOPIC, Notice, as_packet
from webcall.core.participants import is_assistant, is_person

T = TypeVar("T")

_STATE = api.ParticipantInfo.State
_NANO = 1e9


@dataclass(frozen=True, slots=True)
class OpenRoom:
    """A room in LiveKit's list. `sid` is LiveKit's id of it, which no later room of the name has.

    `created_at` is in seconds since 1970, by LiveKit's clock. `people` leaves out agents, and lags by one
    to three seconds.
    """

    name: str
    sid: str
    metadata: str
    created_at: float
    empty_timeout_s: float
    people: int


@dataclass(frozen=True, slots=True)
class Present:
    """Who is in a room. `joined_at` is when the first person came, of those who are there now."""

    people: int
    assistants: frozenset[str]
    joined_at: float | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A dispatch of a room. `taken` tells that a worker accepted it, not that it works on it.

    LiveKit does not bring the state of a dispatch up to date: of a job that has ended it still says that
    it runs. `identities` are those with which the workers said that they would enter.
    """

    agent_name: str
    metadata: str = field(repr=False)
    created_at: float
    identities: frozenset[str]

    @property
    def taken(self) -> bool:
        """Whether a worker has accepted it."""
        return bool(self.identities)


class OpenRooms:
    """Looks into rooms, and acts in them."""

    def __init__(self, livekit: LiveKit) -> None:
        self._livekit = livekit

    def now(self) -> float:
        """Return the time by LiveKit's clock, in seconds since 1970: all times here are LiveKit's."""
        return self._livekit.now().timestamp()

    async def all(self, names: Sequence[str] = ()) -> list[OpenRoom]:
        """Return the open rooms, or those of these names."""
        asked = api.ListRoomsRequest(names=names)
        found = await self._ask(lambda client: client.room.list_rooms(asked))
        return [_open(room) for room in found.rooms]

    async def present(self, name: str) -> Present:
        """Return who is in the room. In a room that has closed nobody is."""
        asked = api.ListParticipantsRequest(room=name)
        found = await self._ask(lambda client: _or_none(client.room.list_participants(asked)))
        participants = found.participants if found is not None else []
        people = [one for one in participants if is_person(one.kind) and one.state == _STATE.ACTIVE]
        return Present(
            people=len(people),
            # One that is on its way in counts.
            assistants=frozenset(
                one.identity
                for one in participants
                if is_assistant(one.kind, one.attributes) and one.state != _STATE.DISCONNECTED
            ),
            joined_at=min((float(one.joined_at) for one in people), default=None),
        )

    async def sent(self, name: str) -> list[Sent]:
        """Return the room's dispatches, the oldest first."""
        found = await self._ask(lambda client: client.agent_dispatch.list_dispatch(name))
        sent = [
            Sent(
                one.agent_name,
                one.metadata,
                one.state.created_at / _NANO,
                frozenset(job.state.participant_identity for job in one.state.jobs),
            )
            for one in found
        ]
        return sorted(sent, key=lambda one: one.created_at)

    async def send_again(self, name: str, dispatch: Sent) -> None:
        """Send another assistant as an earlier dispatch did."""
        asked = api.CreateAgentDispatchRequest(
            agent_name=dispatch.agent_name, room=name, metadata=dispatch.metadata
        )
        await self._ask(lambda client: client.agent_dispatch.create_dispatch(asked))

    async def tell(self, name: str, notice: Notice) -> None:
        """Tell everybody in the room."""
        asked = api.SendDataRequest(
            room=name, data=as_packet(notice), kind=api.DataPacket.Kind.RELIABLE, topic=TOPIC
        )
        await self._ask(lambda client: client.room.send_data(asked))

    async def close(self, name: str) -> None:
        """Close the room; one that has closed is closed."""
        asked = api.DeleteRoomRequest(room=name)
        await self._ask(lambda client: _or_none(client.room.delete_room(asked)))

    async def _ask(self, call: Callable[[api.LiveKitAPI], Awaitable[T]]) -> T:
        return await asyncio.wrap_future(self._livekit.submit(call))


def _open(room: api.Room) -> OpenRoom:
    return OpenRoom(
        name=room.name,
        sid=room.sid,
        metadata=room.metadata,
        created_at=room.creation_time_ms / 1000 or float(room.creation_time),
        empty_timeout_s=room.empty_timeout,
        people=room.num_participants,
    )


async def _or_none(asked: Awaitable[T]) -> T | None:
    try:
        return await asked
    except api.ServerError as error:
        if error.status == 404:
            return None
        raise
