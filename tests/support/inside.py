"""An assistant full of canaries, and a call in which somebody asks for all of them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

from livekit import api, rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.room_io import RoomOptions

from tests.support.calls import PlacedCall
from tests.support.livekit import LiveKitServer
from tests.support.probe import Probe, probing
from webcall.core.tokens import mint
from webcall.worker.demo import DemoLLM

# What the demo may tell a person of their own metadata stays without one: the name that it greets with.
CANARY = "CANARYinside"
METADATA = {
    "customer": {"name": "Ada"},
    "account_token": f"{CANARY}metadata",
    "note": f"{CANARY}note: what is longer than the demo tells of metadata, and was meant for the prompt",
}
DEFINITION: dict[str, Any] = {
    "assistant_created_by_email": f"{CANARY}owner@example.com",
    "assistant_description": f"{CANARY}description",
    "assistant_prompt": f"{CANARY}prompt for {{{{customer.name}}}}: {{{{account_token}}}} {{{{note}}}}",
    "assistant_start_instruction": f"{CANARY}start: greet {{{{customer.name}}}}.",
    "assistant_placeholder_defaults": {"unused": f"{CANARY}default"},
    "assistant_unknown_field": f"{CANARY}unknown",
    "assistant_end_call_enabled": True,
    "assistant_end_call_trigger_phrase": f"{CANARY}phrase",
    **{f"assistant_{part}_config": {"api_key": f"{CANARY}key"} for part in ("llm", "stt", "tts")},
}


async def probed(call: PlacedCall, *, greeting: str) -> Probe:
    """Hold a call, ask for everything meanwhile, and look at the room's first word to a client at last."""
    async with probing(call) as probe:
        assistant = await probe.person.until_assistant()
        await probe.person.until(lambda: greeting in " ".join(probe.person.words()))
        await probe.ask(assistant.identity)
        answers = await probe.ask_livekit(call.token)
        assert {status for status, _ in answers.values()} <= {401, 403}
        await probe.listen_to_signals()
        return probe


def call_to(server: LiveKitServer, room: str) -> PlacedCall:
    token = mint(
        api_key=server.key,
        api_secret=server.secret,
        room=room,
        identity="person",
        text_only=True,
        ttl=timedelta(seconds=60),
        now=datetime.now(UTC),
    )
    return PlacedCall(room, token.jwt, server.url)


def agents_token(server: LiveKitServer, room: str) -> str:
    grants = api.VideoGrants(room_join=True, room=room, agent=True, can_update_own_metadata=True)
    token = api.AccessToken(server.key, server.secret).with_identity("agent").with_kind("agent")
    return token.with_grants(grants).to_jwt()


async def agent_in(stack: AsyncExitStack, server: LiveKitServer, room: str) -> rtc.Room:
    """Make a room with an agent in it that this test plays."""
    async with server.api() as client:
        dispatch = api.RoomAgentDispatch(agent_name="nobody", metadata="CANARYdispatch")
        await client.room.create_room(api.CreateRoomRequest(name=room, agents=[dispatch]))
    agent = rtc.Room()
    await agent.connect(server.url, agents_token(server, room))
    stack.push_async_callback(agent.disconnect)
    return agent


async def asked_session(server: LiveKitServer, room: str, *, session_host: bool) -> Probe:
    """Ask a session of livekit-agents for everything, with its host, which is its default, or without."""
    async with AsyncExitStack() as stack:
        agent = await agent_in(stack, server, room)
        llm = DemoLLM(metadata={}, assistant_name="", text_only=True)
        session: AgentSession[None] = AgentSession(llm=llm, turn_handling={"turn_detection": "manual"})
        stack.push_async_callback(session.aclose)
        probe = await stack.enter_async_context(probing(call_to(server, room)))
        await probe.person.until_assistant()
        # The server tells of people who publish nothing within three seconds.
        await probe.person.until(lambda: agent.remote_participants)
        await session.start(
            Agent(instructions="CANARYprompt"),
            room=agent,
            room_options=RoomOptions(audio_input=False, audio_output=False),
            session_host=session_host,
            record=False,
        )
        await probe.ask("agent")
        return probe
