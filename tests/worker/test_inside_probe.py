"""The probe of `tests/support/probe.py` finds what an agent gives away: else its silence means nothing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import pytest
from livekit import api

from tests.support.inside import agent_in, asked_session, call_to
from tests.support.livekit import LiveKitServer
from tests.support.probe import API_METHODS, Probe, probing

ROOM = "probed_0a1b2c3d"


@pytest.mark.parametrize("session_host", [True, False])
def test_a_session_with_its_host_is_an_open_book(livekit_server: LiveKitServer, session_host: bool) -> None:
    """Of livekit-agents' default the probe gets instructions and history; with the host off, nothing."""
    room = f"{ROOM}-{session_host}"
    probe = asyncio.run(asked_session(livekit_server, room, session_host=session_host))
    assert probe.found("CANARYprompt") == (["bytes lk.agent.session"] if session_host else [])
    assert ("bytes lk.agent.session" in {one.channel for one in probe.room.kept}) == session_host


def test_every_channel_is_kept(livekit_server: LiveKitServer) -> None:
    """What an agent puts into any channel of the room, on topics nobody knows too, is found."""
    room = f"{ROOM}-channels"

    async def run() -> Probe:
        async with AsyncExitStack() as stack:
            agent = await agent_in(stack, livekit_server, room)
            probe = await stack.enter_async_context(probing(call_to(livekit_server, room)))
            me = agent.local_participant
            await me.set_attributes({"some.attribute": "CANARYattribute"})
            await me.set_metadata("CANARYmetadata")
            await me.set_name("CANARYname")
            await me.send_text("CANARYtext", topic="some.topic")
            await me.send_text("some", topic="some.topic", attributes={"an": "CANARYofstream"})
            await me.send_bytes(b"CANARYbytes", topic="some.topic")
            await me.publish_data(b"CANARYpacket", topic="some.topic")
            probe.room.local_participant.register_rpc_method("some", lambda data: _answer())
            await me.perform_rpc(destination_identity="person", method="some", payload="CANARYrpc")
            async with livekit_server.api() as client:
                changed = api.UpdateRoomMetadataRequest(room=room, metadata="CANARYroom")
                await client.room.update_room_metadata(changed)
            for name in (
                "attribute",
                "metadata",
                "name",
                "text",
                "ofstream",
                "bytes",
                "packet",
                "rpc",
                "room",
            ):
                await probe.person.until(partial(probe.found, f"CANARY{name}"), 5)
            await probe.listen_to_signals()
            return probe

    probe = asyncio.run(run())
    signal = [one.text for one in probe.room.kept if one.channel == "signal"]
    assert "CANARYattribute" in signal[0]


async def _answer() -> str:
    return "{}"


def test_livekits_api_tells_the_dispatch_to_its_owner_alone(livekit_server: LiveKitServer) -> None:
    """The question that the probe asks LiveKit has an answer, with the dispatch in it, for who may ask."""
    room = f"{ROOM}-api"

    async def run() -> tuple[dict[str, tuple[int, str]], dict[str, tuple[int, str]]]:
        async with AsyncExitStack() as stack:
            await agent_in(stack, livekit_server, room)
            call = call_to(livekit_server, room)
            probe = await stack.enter_async_context(probing(call))
            grants = api.VideoGrants(room_admin=True, room_list=True, room=room)
            owner = api.AccessToken(livekit_server.key, livekit_server.secret).with_grants(grants)
            return await probe.ask_livekit(owner.to_jwt()), await probe.ask_livekit(call.token)

    allowed, refused = asyncio.run(run())
    assert {status for status, _ in allowed.values()} == {200}
    assert "CANARYdispatch" in allowed["AgentDispatchService/ListDispatch"][1]
    assert set(refused) == set(API_METHODS)
    assert {status for status, _ in refused.values()} <= {401, 403}
    assert "CANARY" not in str(refused)
