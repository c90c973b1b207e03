"""The endpoint as a careful engineer writes it in FastAPI: one shared livekit-api client, one request.

Served by uvicorn with uvloop and httptools, as FastAPI's documentation has it, without access lines.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException
from livekit import api
from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator

from benchmarks.peers import common

DEPLOYMENT = common.Deployment.from_environment()


class TokenRequest(BaseModel):
    """What a caller asks for."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    assistant_id: Annotated[str, Field(min_length=1, max_length=100)]
    metadata: dict[str, Any] | None = None
    text_only: StrictBool = False

    @field_validator("metadata")
    @classmethod
    def _fits(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        common.check_metadata(value or {})
        return value


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncIterator[None]:
    async with api.LiveKitAPI(
        DEPLOYMENT.livekit_url, DEPLOYMENT.api_key, DEPLOYMENT.api_secret
    ) as app.state.livekit:
        yield


app = FastAPI(lifespan=_client)


def token_of(room: str, text_only: bool) -> tuple[str, str]:
    """Return a participant's token, and when it ends."""
    grants = api.VideoGrants(
        room_join=True,
        room=room,
        can_subscribe=True,
        can_publish_data=True,
        can_publish=not text_only,
        can_publish_sources=None if text_only else ["microphone"],
    )
    ttl = timedelta(seconds=common.TTL_S)
    token = (
        api.AccessToken(DEPLOYMENT.api_key, DEPLOYMENT.api_secret)
        .with_identity(common.identity())
        .with_grants(grants)
        .with_ttl(ttl)
        .to_jwt()
    )
    return token, (datetime.now(UTC) + ttl).isoformat(timespec="seconds")


@app.post("/web_call/get_token")
async def get_token(asked: TokenRequest, authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
    """Create the room with its dispatch, and return a token."""
    owner = DEPLOYMENT.owner_of(authorization)
    if owner is None:
        raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"})
    assistant = DEPLOYMENT.assistant_of(owner, asked.assistant_id)
    if assistant is None:
        raise HTTPException(404)
    room, metadata = common.room_of(asked.assistant_id), asked.metadata or {}
    token, expires_at = token_of(room, asked.text_only)
    dispatch = common.dispatch_of(assistant, room, metadata, asked.text_only)
    await app.state.livekit.room.create_room(
        api.CreateRoomRequest(
            name=room,
            empty_timeout=120,
            departure_timeout=20,
            max_participants=1,
            agents=[api.RoomAgentDispatch(agent_name=common.AGENT, metadata=dispatch)],
        )
    )
    return common.answer_of(room, token, DEPLOYMENT.livekit_url, expires_at)
