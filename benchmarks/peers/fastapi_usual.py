"""The same endpoint as most people write it: a client for each request, and two requests to LiveKit."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException
from livekit import api

from benchmarks.peers import common
from benchmarks.peers.fastapi_one import DEPLOYMENT, TokenRequest, token_of

app = FastAPI()


@app.post("/web_call/get_token")
async def get_token(asked: TokenRequest, authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
    """Create the room, dispatch the agent into it, and return a token."""
    owner = DEPLOYMENT.owner_of(authorization)
    if owner is None:
        raise HTTPException(401)
    assistant = DEPLOYMENT.assistant_of(owner, asked.assistant_id)
    if assistant is None:
        raise HTTPException(404)
    room, metadata = common.room_of(asked.assistant_id), asked.metadata or {}
    async with api.LiveKitAPI(DEPLOYMENT.livekit_url, DEPLOYMENT.api_key, DEPLOYMENT.api_secret) as livekit:
        await livekit.room.create_room(
            api.CreateRoomRequest(name=room, empty_timeout=120, departure_timeout=20, max_participants=1)
        )
        await livekit.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(
                agent_name=common.AGENT,
                room=room,
                metadata=common.dispatch_of(assistant, room, metadata, asked.text_only),
            )
        )
    token, expires_at = token_of(room, asked.text_only)
    return common.answer_of(room, token, DEPLOYMENT.livekit_url, expires_at)
