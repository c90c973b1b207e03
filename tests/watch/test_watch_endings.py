"""Calls end: those that are too long, those that no assistant comes to, those that one has left."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import yaml
from livekit import api, rtc

from tests.support.calls import PlacedCall, agents_in, place_call, until_active
from tests.support.livekit import LiveKitServer
from tests.support.person import Person, joined
from tests.support.watch import Program, count, watching
from tests.watch.conftest import AGENT, ToldServer
from webcall.core.notices import TOPIC, Notice
from webcall.errors import LiveKitError

ROOM_DELETED = rtc.DisconnectReason.ROOM_DELETED


def told(person: Person) -> list[Any]:
    """Return what the service itself has told, which comes from no participant."""
    return [json.loads(one.data) for one in person.packets if one.topic == TOPIC and one.participant is None]


def words(notice: Notice) -> list[Any]:
    return [{"code": notice.name, "ends": True, "text": notice.words}]


async def dispatches(server: LiveKitServer, call: PlacedCall) -> list[Any]:
    async with server.api() as livekit:
        return list(await livekit.agent_dispatch.list_dispatch(call.room_name))


def test_a_call_that_nobody_takes_is_given_up(told_server: ToldServer) -> None:
    """After the last try the person is told and the room closed; each try has the first one's metadata."""

    async def talk() -> None:
        async with watching(told_server, port=told_server.watch_port, grace_s=0.4, tries=2) as counters:
            call = place_call(told_server, agent_name="nobody")
            async with joined(call) as person:
                sent: list[Any] = []
                while len(sent) < 3:
                    sent = await dispatches(told_server, call)
                    await asyncio.sleep(0.05)
                assert await person.until_closed() == ROOM_DELETED
                assert told(person) == words(Notice.no_assistant)
            assert len({(one.agent_name, one.metadata) for one in sent}) == 1
            pauses = sorted(one.state.created_at / 1e9 for one in sent)
            assert pauses[2] - pauses[1] >= 0.75
            assert count(counters, "webcall_dispatches_repaired_total") == 2
            assert count(counters, 'webcall_watch_rooms_closed_total{notice="no_assistant"}') == 1

    asyncio.run(talk())


def test_an_overlong_call_is_ended(told_server: ToldServer, shared_worker: Program) -> None:
    """A call that its assistant does not end is ended with words past its longest time, and not before."""

    async def talk() -> None:
        async with watching(told_server, port=told_server.watch_port) as counters:
            long = place_call(told_server, agent_name=AGENT, max_duration_s=600)
            short = place_call(told_server, agent_name=AGENT, max_duration_s=2)
            async with joined(long) as other, joined(short) as person:
                await person.until_assistant()
                began = asyncio.get_running_loop().time()
                assert await person.until_closed() == ROOM_DELETED
                assert asyncio.get_running_loop().time() - began > 1
                assert told(person) == words(Notice.time_is_up)
                assert not told(other)
                assert not other.disconnected.is_set()
            assert count(counters, "webcall_dispatches_repaired_total") == 0

    asyncio.run(talk())


def test_an_assistant_that_leaves_by_itself_is_not_sent_again(
    told_server: ToldServer, shared_worker: Program
) -> None:
    """When the assistant has left of its own will the call is over: no other comes, the room is closed."""

    async def talk() -> None:
        async with watching(told_server, port=told_server.watch_port) as counters:
            call = place_call(told_server, agent_name=AGENT)
            async with joined(call) as person:
                await person.until_assistant()
                await person.room.local_participant.publish_data(b"leave", topic="test")
                assert await person.until_closed() == ROOM_DELETED
                assert told(person) == words(Notice.goodbye)
            assert count(counters, "webcall_dispatches_repaired_total") == 0

    asyncio.run(talk())


def test_who_comes_after_their_assistant_has_left_gets_another(
    told_server: ToldServer, shared_worker: Program
) -> None:
    """An assistant that leaves before anybody came, as its worker is restarted, has ended no call."""

    async def talk() -> None:
        async with watching(told_server, port=told_server.watch_port) as counters:
            call = place_call(told_server, agent_name=AGENT)
            async with told_server.api() as livekit, asyncio.timeout(40):
                while not await agents_in(told_server, call):
                    await asyncio.sleep(0.05)
                order = api.SendDataRequest(room=call.room_name, data=b"leave", topic="test")
                while await agents_in(told_server, call):
                    # It may not listen yet.
                    await livekit.room.send_data(order)
                    await asyncio.sleep(0.2)
            async with joined(call) as person:
                await person.until_assistant()
                assert not told(person)
            assert count(counters, "webcall_dispatches_repaired_total") == 1

    asyncio.run(talk())


async def come_as_assistant(server: LiveKitServer, call: PlacedCall) -> rtc.Room:
    """Be in the call's room as an assistant that has done nothing yet."""
    token = api.AccessToken(server.key, server.secret).with_identity("agent-AJ_failed").with_kind("agent")
    grants = api.VideoGrants(room_join=True, room=call.room_name)
    room = rtc.Room()
    await room.connect(call.server_url, token.with_grants(grants).to_jwt())
    await until_active(server, call, "agent-AJ_failed")
    return room


def test_an_assistant_that_fails_to_enter_is_sent_again(told_server: ToldServer) -> None:
    """One that left before it did anything has not ended the call, and another one is sent.

    livekit-agents leaves so where it cannot finish entering in time, which happens on a busy machine.
    """

    async def talk() -> None:
        async with watching(told_server, port=told_server.watch_port, sweep_s=60, tries=5) as counters:
            call = place_call(told_server, agent_name="nobody")
            assistant = await come_as_assistant(told_server, call)
            async with joined(call) as person:
                assert count(counters, "webcall_dispatches_repaired_total") == 0
                await assistant.disconnect()
                while not count(counters, "webcall_dispatches_repaired_total"):
                    assert not person.disconnected.is_set(), told(person)
                    await asyncio.sleep(0.05)
                assert not told(person)

    asyncio.run(talk())


def test_rooms_of_other_applications_are_left_alone(livekit_server: LiveKitServer) -> None:
    """A room without this service's nonce, or without its dispatch, is neither repaired nor closed."""
    ours = json.dumps({"nonce": secrets.token_hex(16)})
    foreign = [
        *(
            place_call(livekit_server, agent_name="nobody", max_duration_s=1, room_metadata=metadata)
            for metadata in ("", "not json", json.dumps({"nonce": "ours"}), f"[{ours}]")
        ),
        *(
            place_call(livekit_server, agent_name="nobody", dispatch=metadata, room_metadata=ours)
            for metadata in ("", '{"web_call": 1}', "[" * 10_000)
        ),
    ]

    async def talk() -> None:
        async with (
            watching(livekit_server, grace_s=0.2, sweep_s=0.2, tries=1) as counters,
            AsyncExitStack() as stack,
        ):
            for call in foreign:
                await stack.enter_async_context(joined(call))
            own = place_call(livekit_server, agent_name="nobody")
            person = await stack.enter_async_context(joined(own))
            await person.until_closed()
            before = count(counters, 'webcall_watch_sweeps_total{result="ok"}')
            while count(counters, 'webcall_watch_sweeps_total{result="ok"}') < before + 5:
                await asyncio.sleep(0.05)
            for call in foreign:
                assert len(await dispatches(livekit_server, call)) == 1
            assert count(counters, "webcall_dispatches_repaired_total") == 1

    asyncio.run(talk())


async def placed(server: LiveKitServer) -> PlacedCall:
    """Place a call as soon as LiveKit has noticed which of its nodes is dead."""
    while True:
        try:
            return place_call(server, agent_name="nobody")
        except LiveKitError:
            await asyncio.sleep(0.2)


def test_ghosts_of_a_dead_node_hold_nobody_up(livekit_binary: Path, redis_uri: str, tmp_path: Path) -> None:
    """A room that a killed node left in Redis, with its person, is left alone; other calls are repaired."""
    server = LiveKitServer(livekit_binary, tmp_path)
    with server.config.open("a") as config:
        yaml.safe_dump({"redis": {"address": redis_uri.split("/")[2], "db": 5}}, config)

    async def talk() -> None:
        async with joined(place_call(server, agent_name="nobody")):
            async with server.api() as livekit:
                while not (await livekit.room.list_rooms(api.ListRoomsRequest())).rooms[0].num_participants:
                    await asyncio.sleep(0.05)
            server.stop()
        server.start()
        async with watching(server, grace_s=0.2, sweep_s=0.2, tries=1) as counters:
            async with joined(await placed(server)) as person:
                await person.until_closed()
            assert count(counters, "webcall_dispatches_repaired_total") == 1
            failures = 'webcall_watch_livekit_failures_total{kind="answer"}'
            while not count(counters, failures):
                await asyncio.sleep(0.05)
            # It is left to rest, and not asked at every sweep.
            assert count(counters, failures) < 4

    try:
        server.start()
        asyncio.run(talk())
    finally:
        server.stop()
