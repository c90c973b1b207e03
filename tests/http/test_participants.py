"""Real participants join the rooms of real calls."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

import pytest
from flask.testing import FlaskClient
from livekit import api, rtc

from tests.support.deployment import bearer
from tests.support.http import CALL
from tests.support.livekit import LiveKitServer


def test_one_human_and_no_second(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """The token's holder joins; a second person, with a token for the same room, is refused."""
    answer = client.post(CALL, json={"assistant_id": "helper"}, headers=bearer())
    assert answer.json is not None
    data = answer.json["data"]
    grants = api.VideoGrants(room_join=True, room=data["room_name"])
    second_token = (
        api.AccessToken(livekit_server.key, livekit_server.secret)
        .with_identity("a-second-person")
        .with_grants(grants)
        .to_jwt()
    )

    async def meet() -> None:
        options = rtc.RoomOptions(connect_timeout=10)
        first, second = rtc.Room(), rtc.Room()
        try:
            await first.connect(data["server_url"], data["token"], options)
            assert first.name == data["room_name"]
            refused = False
            try:
                await second.connect(data["server_url"], second_token, options)
            except rtc.ConnectError:
                refused = True
            assert refused
            async with livekit_server.api() as livekit:
                there = await livekit.room.list_participants(
                    api.ListParticipantsRequest(room=data["room_name"])
                )
            assert [one.identity for one in there.participants] == [first.local_participant.identity]
        finally:
            await second.disconnect()
            await first.disconnect()

    asyncio.run(meet())


def test_a_closed_room_is_not_made_again(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """A token whose room is gone joins nothing: nobody ends up alone in a room without an assistant."""
    answer = client.post(CALL, json={"assistant_id": "helper"}, headers=bearer())
    assert answer.json is not None
    data = answer.json["data"]

    async def close() -> None:
        async with livekit_server.api() as livekit:
            await livekit.room.delete_room(api.DeleteRoomRequest(room=data["room_name"]))

    asyncio.run(close())
    address = f"{livekit_server.http_url}/rtc/validate?access_token={data['token']}"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address, timeout=10)
    assert refused.value.code == 404
    refused.value.close()
