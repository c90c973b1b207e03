"""Who else is in the room, where LiveKit's API does not tell."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import api, rtc

from tests.support.calls import assistant_in, place_call
from tests.support.livekit import LiveKitServer
from tests.support.model_jobs import worker
from tests.support.person import joined
from webcall.worker import attendance
from webcall.worker.attendance import Attendance
from webcall.worker.call import Call


async def fails(_: object) -> None:
    raise api.ServerError("unavailable", "", status=503)


async def hangs(_: object) -> None:
    await asyncio.Event().wait()


def answers(*participants: api.ParticipantInfo) -> Any:
    async def answer(_: object) -> api.ListParticipantsResponse:
        return api.ListParticipantsResponse(participants=participants)

    return answer


@pytest.mark.parametrize(
    ("answer", "is_back"),
    [
        (answers(api.ParticipantInfo(identity="person", state=api.ParticipantInfo.State.ACTIVE)), True),
        (answers(api.ParticipantInfo(identity="person", state=api.ParticipantInfo.State.JOINED)), True),
        (
            answers(api.ParticipantInfo(identity="person", state=api.ParticipantInfo.State.DISCONNECTED)),
            False,
        ),
        (answers(api.ParticipantInfo(identity="other", state=api.ParticipantInfo.State.ACTIVE)), False),
        (answers(), False),
        (fails, False),
        (hangs, False),
    ],
)
def test_who_is_back_though_the_room_does_not_tell_yet(
    monkeypatch: pytest.MonkeyPatch, answer: Any, is_back: bool
) -> None:
    """The server lists at once whoever types only, and tells of them seconds later."""
    monkeypatch.setattr(attendance, "ASKING_S", 0.2)

    async def run() -> bool:
        own = Attendance(rtc.Room())
        person: Any = SimpleNamespace(identity="person")
        own.human = person
        livekit: Any = SimpleNamespace(room=SimpleNamespace(list_participants=answer))
        return await own.is_back(livekit)

    assert asyncio.run(run()) is is_back


class Context:
    """What a call needs of its job, in a room that it has entered; what is asked of the API has no answer."""

    def __init__(self, room: rtc.Room, answer: Any) -> None:
        self.room = room
        room_info = SimpleNamespace(empty_timeout=20, departure_timeout=20)
        self.job = SimpleNamespace(metadata="{}", room=room_info)
        self.api = SimpleNamespace(room=SimpleNamespace(list_participants=answer, update_participant=answer))
        self.deleted = 0
        self.shut_down: list[str] = []

    def delete_room(self) -> asyncio.Future[None]:
        self.deleted += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def shutdown(self, reason: str) -> None:
        self.shut_down.append(reason)


@pytest.mark.parametrize("answer", [fails, hangs])
def test_the_call_of_another_assistant_is_left_alone(
    livekit_server: LiveKitServer, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """Where the API does not tell which of two came first, the one that enters leaves the room as it is."""
    monkeypatch.setattr(attendance, "ASKING_S", 0.2)

    async def run() -> Context:
        placed = place_call(livekit_server, agent_name="nobody")
        async with assistant_in(livekit_server, placed, "first"), joined(placed) as person:
            async with assistant_in(livekit_server, placed, "second") as room:
                context: Any = Context(room, answer)
                await asyncio.wait_for(Call(context, worker(), None).run(), 20)
            assert person.notices() == []
            return context

    context = asyncio.run(run())
    assert context.deleted == 0
    assert context.shut_down == ["another assistant is here"]
