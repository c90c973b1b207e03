"""How calls begin and end on the real server: who is in the room, and when it is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

from livekit import api, rtc

from tests.support.calls import PlacedCall, agents_in, place_call, until_gone
from tests.support.deployment import ROOT
from tests.support.livekit import LiveKitServer
from tests.support.person import joined
from tests.support.worker import WorkerProcess
from webcall.worker.ending import close_room

GONE = rtc.DisconnectReason.ROOM_DELETED

# As promised. Measured: 0.15 s at most, on two cores with a load of eight; the rest is for busier machines.
_A_SECOND = 1


def test_the_person_hangs_up(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """The room is closed within a second of hanging up; a silent client says so on its topic first."""

    async def by_voice() -> None:
        call = place_call(livekit_server, agent_name=worker.agent_name)
        async with joined(call) as person:
            await person.until(person.words)
            await person.open_microphone()
            await person.leave()
            assert await until_gone(livekit_server, call) < _A_SECOND

    async def by_text() -> None:
        call = place_call(livekit_server, agent_name=worker.agent_name, text_only=True)
        async with joined(call) as person:
            await person.until(person.words)
            await person.type("", "webcall.bye")
            await person.leave()
            assert await until_gone(livekit_server, call) < _A_SECOND

    async def by_text_without_a_word() -> None:
        call = place_call(livekit_server, agent_name=worker.agent_name, text_only=True)
        async with joined(call) as person:
            await person.until(person.words)
            await person.leave()
            assert await until_gone(livekit_server, call) < 5

    async def one_after_the_other() -> None:
        await by_voice()
        await by_text()
        await by_text_without_a_word()

    asyncio.run(one_after_the_other())


def test_limits_end_calls(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """A longest time ends a call with a last sentence, a goodbye by the demo's own; both with a notice.

    A room that nobody joins is closed when its time of waiting is over.
    """

    async def time_is_up() -> None:
        call = place_call(livekit_server, agent_name=worker.agent_name, max_duration_s=2)
        async with joined(call) as person:
            assert await person.until_closed() == GONE
            assert "our time is up" in person.words()[-1]
            assert person.loud_frames
            assert [(one.attributes["code"], one.attributes["ends"]) for one in person.said_by_service()] == [
                ("time_is_up", "true")
            ]

    async def minutes_of_the_definition() -> None:
        settings = {"assistant_interaction_config": {"max_call_duration_minutes": 1 / 60}}
        call = place_call(livekit_server, settings, agent_name=worker.agent_name, text_only=True)
        async with joined(call) as person:
            assert await person.until_closed() == GONE
            assert person.notices() == ["time_is_up"]

    async def goodbye() -> None:
        call = place_call(livekit_server, agent_name=worker.agent_name)
        async with joined(call) as person:
            await person.until(person.words)
            assert "Goodbye" in await person.reply_to("goodbye")
            assert await person.until_closed() == GONE
            assert person.notices() == ["goodbye"]

    async def nobody() -> None:
        placed = time.monotonic()
        call = place_call(livekit_server, agent_name=worker.agent_name, empty_timeout_s=8)
        await asyncio.to_thread(worker.until_line, "call begins", call.room_name)
        await until_gone(livekit_server, call)
        assert 7 < time.monotonic() - placed < 14
        (line,) = await asyncio.to_thread(worker.until_line, "call ends", call.room_name)
        assert line["why"] in ("nobody came", "room closed", "stopped from outside")

    async def all_at_once() -> None:
        await asyncio.gather(time_is_up(), minutes_of_the_definition(), goodbye(), nobody())

    asyncio.run(all_at_once())


_JOIN_AND_DIE = """
import asyncio, os, signal, sys
from livekit import rtc

async def main():
    room = rtc.Room()
    await room.connect(sys.argv[1], sys.argv[2])
    track = rtc.LocalAudioTrack.create_audio_track("microphone", rtc.AudioSource(24000, 1))
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await room.local_participant.publish_track(track, options)
    while not any("lk.agent.state" in one.attributes for one in room.remote_participants.values()):
        await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def test_last_words_of_the_definition(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """The definition's own last words are said before the call ends."""
    settings = {"assistant_end_call_enabled": True, "assistant_end_call_agent_message": "Come back soon."}

    async def talk() -> None:
        call = place_call(livekit_server, settings, agent_name=worker.agent_name, text_only=True)
        async with joined(call) as person:
            await person.until(person.words)
            await person.type("goodbye")
            assert await person.until_closed() == GONE
            assert person.words()[-1] == "Come back soon."
            assert person.notices() == ["goodbye"]

    asyncio.run(talk())


def test_a_lost_connection_is_waited_for(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """Who drops out and comes back has the same assistant and history; who stays away loses the room."""

    def dies(call: PlacedCall) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _JOIN_AND_DIE, call.server_url, call.token],
            cwd=ROOT,
        )

    async def comes_back() -> None:
        call = place_call(livekit_server, agent_name=worker.agent_name, text_only=True)
        async with joined(call) as first:
            await first.until(first.words)
            await first.reply_to("repeat after me the first part")
            (agent,) = await agents_in(livekit_server, call)
            # A page that reloads: the same identity joins while the older session is still there.
            async with joined(call) as second:
                await first.until_closed()
                assert await second.reply_to("say that again") == "the first part"
                assert await agents_in(livekit_server, call) == [agent]
                await second.type("", "webcall.bye")

    async def stays_away() -> None:
        call = place_call(livekit_server, agent_name=worker.agent_name, departure_timeout_s=3)
        process = await asyncio.to_thread(dies, call)
        await asyncio.to_thread(process.wait, 20)
        lost = time.monotonic()
        await until_gone(livekit_server, call, 60)
        assert time.monotonic() - lost > 3, worker.lines(room=call.room_name)
        assert worker.lines("connection lost", call.room_name)

    async def both() -> None:
        await asyncio.gather(comes_back(), stays_away())

    asyncio.run(both())


def test_one_assistant_stays(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """Where two are sent into a room, exactly one stays, and the room is never closed by the other."""

    async def talk() -> None:
        call = place_call(livekit_server, agent_name=worker.agent_name, text_only=True)
        sent = api.CreateAgentDispatchRequest(
            agent_name=worker.agent_name, room=call.room_name, metadata=await _metadata(livekit_server, call)
        )
        async with livekit_server.api() as livekit:
            await asyncio.gather(*(livekit.agent_dispatch.create_dispatch(sent) for _ in range(2)))
        async with joined(call) as person:
            await person.until(person.words)
            await asyncio.to_thread(
                worker.until_line, "call ends", call.room_name, 2, why="another assistant is here"
            )
            assert await person.reply_to("repeat after me still here") == "still here"
            assert len(await agents_in(livekit_server, call)) == 1
            assert len([one for one in person.words() if "Ada" in one]) == 1
            await person.type("", "webcall.bye")

    asyncio.run(talk())


def test_the_next_room_of_the_name_stays(livekit_server: LiveKitServer) -> None:
    """An assistant whose room LiveKit has closed does not delete one that was made under its name since."""

    async def run() -> None:
        async with livekit_server.api() as livekit:

            async def close(sid: str) -> None:
                deleted = api.DeleteRoomRequest(room="used-again")
                context: Any = SimpleNamespace(
                    api=livekit,
                    job=SimpleNamespace(room=SimpleNamespace(sid=sid)),
                    room=SimpleNamespace(name="used-again", local_participant=SimpleNamespace(identity="me")),
                    delete_room=lambda: livekit.room.delete_room(deleted),
                )
                await close_room(context, "outage")

            async def there() -> list[str]:
                found = await livekit.room.list_rooms(api.ListRoomsRequest(names=["used-again"]))
                return [room.sid for room in found.rooms]

            made = await livekit.room.create_room(api.CreateRoomRequest(name="used-again", empty_timeout=60))
            await close("RM_before")
            assert await there() == [made.sid]
            await close(made.sid)
            assert await there() == []

    asyncio.run(run())


async def _metadata(server: LiveKitServer, call: PlacedCall) -> str:
    async with server.api() as livekit:
        (dispatch,) = await livekit.agent_dispatch.list_dispatch(call.room_name)
    return dispatch.metadata
