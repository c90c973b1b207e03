"""What many would write instead: Flask and livekit-api, a client per request, two requests to LiveKit.

It has one key and one assistant, checks little, and knows no outage. `benchmarks.throughput` serves it
under the same gunicorn settings as the service.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import uuid
from typing import Any

from flask import Flask, jsonify, request
from livekit import api

app = Flask(__name__)
KEY = os.environ["BENCHMARK_API_KEY"]
URL = os.environ["LIVEKIT_URL"]


async def open_room(name: str, metadata: str) -> None:
    """Create the room, then send the agent into it."""
    async with api.LiveKitAPI(URL) as livekit:
        await livekit.room.create_room(
            api.CreateRoomRequest(name=name, empty_timeout=120, max_participants=1)
        )
        dispatch = api.CreateAgentDispatchRequest(agent_name="api-agent", room=name, metadata=metadata)
        await livekit.agent_dispatch.create_dispatch(dispatch)


@app.post("/web_call/get_token")
def get_token() -> Any:
    """Answer with a room and a token."""
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return jsonify(success=False), 401
    body = request.get_json()
    name = f"{body['assistant_id']}_{uuid.uuid4().hex[:8]}"
    asyncio.run(open_room(name, json.dumps(body.get("metadata") or {})))
    token = (
        api.AccessToken()
        .with_identity(uuid.uuid4().hex)
        .with_ttl(datetime.timedelta(seconds=60))
        .with_grants(api.VideoGrants(room_join=True, room=name, can_publish_sources=["microphone"]))
        .to_jwt()
    )
    return jsonify(success=True, data={"room_name": name, "token": token})
