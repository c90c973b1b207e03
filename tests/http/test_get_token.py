"""`POST /web_call/get_token` on the real LiveKit server."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from livekit import api

from tests.support.deployment import MakeApp, bearer, livekit_environment, store_records
from tests.support.livekit import LiveKitServer

PATH = "/web_call/get_token"


def read_back(server: LiveKitServer, room_name: str) -> tuple[Any, list[Any]]:
    """Return the room and its dispatches as LiveKit holds them."""

    async def read() -> tuple[Any, list[Any]]:
        async with server.api() as client:
            rooms = await client.room.list_rooms(api.ListRoomsRequest(names=[room_name]))
            dispatches = await client.agent_dispatch.list_dispatch(room_name)
        [room] = rooms.rooms
        return room, list(dispatches)

    return asyncio.run(read())


def call(client: FlaskClient, **body: Any) -> dict[str, Any]:
    """Place a call that has to succeed and return its data."""
    answer = client.post(PATH, json={"assistant_id": "helper"} | body, headers=bearer())
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    assert list(answer.json) == ["success", "message", "data"]
    assert answer.json["success"] is True
    assert answer.json["message"] == "Token generated successfully"
    return dict(answer.json["data"])


def test_the_room_is_there_with_one_dispatch(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """The room exists on LiveKit with the contract's settings and exactly one dispatch, filled in."""
    metadata = {"customer": {"name": "Jo"}, "text_only": "mine", "call_type": "mine", "web_call": "mine"}
    data = call(client, metadata=metadata)
    assert set(data) == {"room_name", "token", "server_url", "expires_at"}
    assert data["server_url"] == livekit_server.url
    name = data["room_name"]
    assert name[:-8] == "helper_"
    assert set(name[-8:]) <= set("0123456789abcdef")

    room, [dispatch] = read_back(livekit_server, name)
    assert room.max_participants == 1
    assert room.empty_timeout == 120
    assert room.departure_timeout == 20
    assert set(json.loads(room.metadata)) == {"nonce"}
    assert dispatch.agent_name == "api-agent"
    received = json.loads(dispatch.metadata)
    assert received["customer"] == {"name": "Jo"}
    assert received["call_type"] == "web"
    assert received["text_only"] is False
    ours = received["web_call"]
    assert ours["version"] == 1
    assert ours["room_name"] == name
    assert ours["metadata"] == metadata
    assert ours["max_duration_s"] == 3600
    assert ours["assistant"]["assistant_prompt"] == "You talk with Jo from somewhere."
    assert ours["assistant"]["assistant_start_instruction"] == "Greet Jo."
    assert ours["assistant"]["a_field_of_tomorrow"] == {"kept": True}


def test_an_assistants_own_agent_name_wins(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """A definition's agent_name decides which worker gets the dispatch."""
    data = call(client, assistant_id=" other ")
    _, [dispatch] = read_back(livekit_server, data["room_name"])
    assert dispatch.agent_name == "own-agent"


@pytest.mark.parametrize("text_only", [False, True])
def test_the_tokens_grants(client: FlaskClient, livekit_server: LiveKitServer, text_only: bool) -> None:
    """The token joins this one room, publishes the microphone unless text_only, and does no more."""
    before = datetime.now(UTC).replace(microsecond=0)
    data = call(client, text_only=text_only)
    claims = jwt.decode(data["token"], livekit_server.secret, algorithms=["HS256"], issuer=livekit_server.key)
    expected = {
        "roomJoin": True,
        "room": data["room_name"],
        "canPublish": not text_only,
        "canSubscribe": True,
        "canPublishData": True,
    }
    if not text_only:
        expected["canPublishSources"] = ["microphone"]
    assert claims["video"] == expected
    assert set(claims) == {"video", "iss", "sub", "nbf", "exp"}
    expires = datetime.fromisoformat(data["expires_at"])
    assert data["expires_at"].endswith("Z")
    assert int(expires.timestamp()) == claims["exp"]
    assert 60 <= (expires - before).total_seconds() <= 62


def test_livekit_accepts_the_token(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """LiveKit's own check says that the token may join."""
    import urllib.request

    data = call(client)
    address = f"{livekit_server.http_url}/rtc/validate?access_token={data['token']}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.read() == b"success"


def test_identities_and_rooms_are_never_the_same(client: FlaskClient) -> None:
    """Two calls for one assistant meet neither in a room nor in an identity."""
    calls = [call(client) for _ in range(5)]
    claims = [jwt.decode(data["token"], options={"verify_signature": False}) for data in calls]
    assert len({data["room_name"] for data in calls}) == 5
    assert len({claim["sub"] for claim in claims}) == 5


def test_settings_reach_room_and_token(
    make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    """join_window_s, departure_timeout_s, max_duration_s, public_url and agent_name have their effect."""
    environment = livekit_environment(livekit_server) | store_records("env", tmp_path, request)
    environment |= {"LIVEKIT_PUBLIC_URL": "https://calls.example.com", "LIVEKIT_AGENT_NAME": "mine"}
    window = {"join_window_s": 5, "departure_timeout_s": 7, "max_duration_s": 9}
    client = make_app(environment, call=window).test_client()
    data = call(client)
    room, [dispatch] = read_back(livekit_server, data["room_name"])
    assert data["server_url"] == "wss://calls.example.com"
    assert (room.empty_timeout, room.departure_timeout) == (65, 7)
    assert dispatch.agent_name == "mine"
    assert json.loads(dispatch.metadata)["web_call"]["max_duration_s"] == 9
    claims = jwt.decode(data["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["nbf"] in (5, 6)
