"""The benchmark's peers: each does the same work as the service, on the real LiveKit server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import jwt
import pytest
from livekit import api

from benchmarks.contestants import Deployment, contestants
from benchmarks.processes import running
from scripts.frontend import NoFrontend
from tests.support import programs
from tests.support.livekit import LiveKitServer

# What a token says of time and of whom it is for differs from one to the next.
_OWN = {"nbf", "exp", "iat", "sub", "jti"}


class _Ports(dict[str, int]):
    def __missing__(self, name: str) -> int:
        self[name] = programs.free_port()
        return self[name]


def ask(port: int, request: bytes) -> dict[str, Any]:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request)
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
        while not body:
            body = connection.recv(65536)
    assert head.split(b" ")[1] == b"200", head
    data: dict[str, Any] = json.loads(body)["data"]
    return data


async def dispatch_of(server: LiveKitServer, room: str) -> dict[str, Any]:
    async with server.api() as client:
        [dispatch] = [one for one in await client.agent_dispatch.list_dispatch(room) if one.metadata]
        return {"agent": dispatch.agent_name, **json.loads(dispatch.metadata)}


def claims_of(token: str, server: LiveKitServer) -> dict[str, Any]:
    claims = jwt.decode(token, server.secret, algorithms=["HS256"])
    claims["video"].pop("room")
    grants = {name: value for name, value in claims["video"].items() if value}
    return {"video": grants} | {
        name: claims[name] for name in claims if name not in {"video", *_OWN} and claims[name]
    }


def test_everybody_does_the_same_work(livekit_server: LiveKitServer, tmp_path: Path) -> None:
    """Each peer makes a room with the same dispatch as the service's, and a token with the same claims."""
    ports = _Ports()
    try:
        everybody = contestants(ports)
    except NoFrontend as error:
        programs.without("node and npm", str(error))
    deployment = Deployment.write(tmp_path)
    environment = deployment.environment(livekit_server.http_url, livekit_server.key, livekit_server.secret)
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as servers:
        for one in everybody:
            log = tmp_path / f"{one.name}.log"
            servers.enter_context(
                running(one.command, environment | dict(one.environment), ports[one.name], log)
            )
        for one in everybody:
            data = ask(ports[one.name], deployment.request())
            dispatch = asyncio.run(dispatch_of(livekit_server, data["room_name"]))
            assert dispatch["web_call"].pop("room_name") == data["room_name"]
            found[one.name] = (dispatch, claims_of(data["token"], livekit_server))
    service = found.pop("service")
    assert found == dict.fromkeys(found, service)


@pytest.mark.parametrize("in_json", [False, True], ids=["protobuf", "json"])
def test_stand_in_answers_as_livekit(in_json: bool) -> None:
    """The stand-in for LiveKit echoes a room's name and metadata, in either form."""
    from google.protobuf import json_format

    from benchmarks.stand_in import reply

    asked = api.CreateRoomRequest(name="helper_1", metadata="nonce", empty_timeout=120)
    body = json_format.MessageToJson(asked).encode() if in_json else asked.SerializeToString()
    told = reply(b"CreateRoom", body, in_json=in_json)
    room = json_format.Parse(told, api.Room()) if in_json else api.Room.FromString(told)
    assert (room.name, room.metadata, room.empty_timeout) == ("helper_1", "nonce", 120)
