"""Calls placed as the service places them, with a definition of the test's own."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from livekit import api, rtc

from tests.support.livekit import LiveKitServer
from webcall.config.settings import LiveKitConfig
from webcall.core.dispatch import dispatch_metadata, filled_definition
from webcall.core.livekit import LiveKit, NewRoom
from webcall.core.participants import is_assistant
from webcall.core.tokens import mint
from webcall.records import assistant_from_record

DEFINITION: dict[str, Any] = {
    "assistant_id": "sample",
    "assistant_name": "Sample",
    "assistant_created_by_email": "ada@example.com",
    "assistant_prompt": "You talk with {{customer.name}}.",
    "assistant_start_instruction": "Greet {{customer.name}}.",
}
METADATA: dict[str, Any] = {"customer": {"name": "Ada"}}


@dataclass(frozen=True)
class PlacedCall:
    """A room with its assistant on the way, and what the person joins with."""

    room_name: str
    token: str
    server_url: str


def place_call(
    server: LiveKitServer,
    definition: Mapping[str, Any] | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    text_only: bool = False,
    agent_name: str,
    max_duration_s: int = 3600,
    empty_timeout_s: int = 120,
    departure_timeout_s: int = 20,
    dispatch: str | None = None,
    identity: str | None = None,
    room_metadata: str | None = None,
) -> PlacedCall:
    """Create a room on `server` with a dispatch to `agent_name`, and sign a token for one person.

    `definition` changes fields of `DEFINITION`; `dispatch` replaces the whole metadata of the dispatch,
    `room_metadata` that of the room, which has a nonce as the service's rooms do.
    """
    assistant = assistant_from_record({**DEFINITION, **(definition or {})})
    pairs = METADATA if metadata is None else metadata
    name = f"{assistant.id}_{secrets.token_hex(4)}"
    filled = filled_definition(assistant, pairs, text_only=text_only)
    with client(server, agent_name) as livekit:
        livekit.create_room(
            NewRoom(
                name=name,
                metadata=json.dumps({"nonce": secrets.token_hex(16)})
                if room_metadata is None
                else room_metadata,
                agent_name=agent_name,
                dispatch_metadata=dispatch
                if dispatch is not None
                else dispatch_metadata(
                    room=name,
                    definition=filled,
                    metadata=pairs,
                    text_only=text_only,
                    max_duration_s=max_duration_s,
                ),
                empty_timeout_s=empty_timeout_s,
                departure_timeout_s=departure_timeout_s,
            )
        )
    token = mint(
        api_key=server.key,
        api_secret=server.secret,
        room=name,
        identity=identity or f"person-{secrets.token_hex(4)}",
        text_only=text_only,
        ttl=timedelta(seconds=60),
        now=datetime.now(UTC),
    )
    return PlacedCall(name, token.jwt, server.url)


async def until_gone(server: LiveKitServer, call: PlacedCall, within_s: float = 20) -> float:
    """Wait until the call's room is closed; return after how many seconds it was."""
    began = time.monotonic()
    async with server.api() as livekit:
        while (await livekit.room.list_rooms(api.ListRoomsRequest(names=[call.room_name]))).rooms:
            if time.monotonic() - began > within_s:
                raise AssertionError(f"the room is open after {within_s} s")
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def until_active(server: LiveKitServer, call: PlacedCall, identity: str, within_s: float = 20) -> None:
    """Wait until the server takes a participant of the call for active: then it tells that they joined."""
    until = time.monotonic() + within_s
    about = api.RoomParticipantIdentity(room=call.room_name, identity=identity)
    async with server.api() as livekit:
        while (await livekit.room.get_participant(about)).state != api.ParticipantInfo.State.ACTIVE:
            assert time.monotonic() < until, f"not active after {within_s} s"
            await asyncio.sleep(0.02)


async def agents_in(server: LiveKitServer, call: PlacedCall) -> list[str]:
    """Return the identities of the assistants that the server has in the call's room."""
    async with server.api() as livekit:
        return await assistants_listed(livekit, call.room_name)


async def assistants_listed(livekit: api.LiveKitAPI, room: str) -> list[str]:
    """Return the identities of the assistants that LiveKit lists in a room."""
    there = await livekit.room.list_participants(api.ListParticipantsRequest(room=room))
    return [one.identity for one in there.participants if is_assistant(one.kind, one.attributes)]


def livekit_config(server: LiveKitServer, agent_name: str = "") -> LiveKitConfig:
    """Return the service's settings for `server`."""
    return LiveKitConfig(
        url=server.url,
        public_url="",
        api_key=server.key,
        api_secret=server.secret,
        agent_name=agent_name,
        timeout_s=5,
    )


@contextmanager
def client(server: LiveKitServer, agent_name: str = "") -> Iterator[LiveKit]:
    """Give the service's own client for `server`."""
    livekit = LiveKit(livekit_config(server, agent_name))
    try:
        yield livekit
    finally:
        livekit.close()


@asynccontextmanager
async def assistant_in(server: LiveKitServer, placed: PlacedCall, identity: str) -> AsyncIterator[rtc.Room]:
    """Have a participant of kind agent in the room."""
    room = rtc.Room()
    grants = api.VideoGrants(room_join=True, room=placed.room_name, agent=True)
    token = api.AccessToken(server.key, server.secret).with_identity(identity).with_kind("agent")
    await room.connect(server.url, token.with_grants(grants).to_jwt())
    try:
        yield room
    finally:
        await room.disconnect()
