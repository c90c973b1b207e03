"""`flask webcall call` on the real LiveKit server, and `render` beside it."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from livekit import api

from tests.cli.conftest import Run, loaded, run_on
from tests.support.deployment import (
    OWNER,
    STRANGER,
    MakeApp,
    bearer,
    livekit_environment,
    store_records,
)
from tests.support.livekit import LiveKitServer

METADATA = {"customer": {"name": "Jo"}, "city": "<Köln> & {{x}}"}
PAIRS = ("--metadata", "customer.name=Jo", "--metadata", "city=<Köln> & {{x}}")


@pytest.fixture
def call(file_app: Flask, livekit_server: LiveKitServer) -> Run:
    """Runs commands on the sample deployment in files."""
    return run_on(file_app, livekit_server.secret)


def read_back(server: LiveKitServer, room_name: str) -> tuple[Any, Any]:
    """Return the room and its one dispatch as LiveKit holds them."""

    async def read() -> tuple[Any, Any]:
        async with server.api() as client:
            rooms = await client.room.list_rooms(api.ListRoomsRequest(names=[room_name]))
            [dispatch] = await client.agent_dispatch.list_dispatch(room_name)
        [room] = rooms.rooms
        return room, dispatch

    return asyncio.run(read())


def test_a_call_has_a_room_and_one_dispatch(call: Run, livekit_server: LiveKitServer) -> None:
    """The room that is printed exists with one dispatch, and the token joins it for the given time."""
    now = datetime.now(UTC)
    result = call(
        "call", " helper ", "--owner", OWNER, *PAIRS, "--join-window", "10m", "--text-only", "--json"
    )
    printed = loaded(result)
    assert set(printed) == {"room_name", "token", "server_url", "expires_at", "playground_url"}
    assert printed["playground_url"] is None
    assert printed["server_url"] == livekit_server.url
    room, dispatch = read_back(livekit_server, printed["room_name"])
    assert room.empty_timeout == 660
    received = json.loads(dispatch.metadata)
    assert received["text_only"] is True
    assert received["web_call"]["metadata"] == METADATA
    claims = jwt.decode(printed["token"], livekit_server.secret, algorithms=["HS256"])
    assert claims["video"]["room"] == printed["room_name"]
    assert claims["video"]["canPublish"] is False
    left = datetime.fromisoformat(printed["expires_at"]) - now
    assert 599 <= left.total_seconds() <= 605

    shown = call("call", "helper", "--owner", OWNER)
    lines = dict(line.split(": ", 1) for line in shown.stdout.splitlines())
    assert set(lines) == set(printed) - {"playground_url"}
    [hint] = shown.stderr.splitlines()
    assert "WEBCALL_PLAYGROUND=true" in hint
    room, _ = read_back(livekit_server, lines["room_name"])
    assert room.empty_timeout == 120


def test_the_link_opens_the_playground_on_the_call(
    make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With the playground on, a link holds what a browser needs to join, and a line says how long."""
    environment = livekit_environment(livekit_server) | store_records("file", tmp_path, request)
    app = make_app(environment, http={"playground": True, "public_url": "https://calls.example.com/"})
    call = run_on(app, livekit_server.secret)
    printed = loaded(call("call", "helper", "--owner", OWNER, "--json"))
    page, _, held = printed["playground_url"].partition("#call=")
    assert page == "https://calls.example.com/playground"
    assert "=" not in held
    expected = {name: printed[name] for name in ("room_name", "token", "server_url")}
    assert json.loads(base64.urlsafe_b64decode(held + "=" * (-len(held) % 4))) == expected
    shown = call("call", "helper", "--owner", OWNER, "--join-window", "10m")
    [line] = [one for one in shown.stdout.splitlines() if one.startswith("playground_url: ")]
    assert page in line
    [told] = shown.stderr.splitlines()
    assert told == "the link is good for 600 s, and whoever has it can join"


@pytest.mark.parametrize("text_only", [False, True])
def test_render_shows_what_a_dispatch_holds(
    call: Run, file_app: Flask, livekit_server: LiveKitServer, text_only: bool
) -> None:
    """The texts that render prints are those of a call over HTTP with the same metadata."""
    body = {"assistant_id": "helper", "metadata": METADATA, "text_only": text_only}
    answer = file_app.test_client().post("/web_call/get_token", json=body, headers=bearer())
    assert answer.json is not None
    _, dispatch = read_back(livekit_server, answer.json["data"]["room_name"])
    definition = json.loads(dispatch.metadata)["web_call"]["assistant"]
    flag = ("--text-only",) if text_only else ()
    rendered = loaded(call("assistants", "render", "helper", *PAIRS, *flag, "--json"))
    assert rendered == {
        name: definition[name] for name in ("assistant_prompt", "assistant_start_instruction")
    }
    assert rendered["assistant_prompt"] == "You talk with Jo from <Köln> & {{x}}."


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nobody", "--owner", OWNER), "no active assistant of this id"),
        (("resting", "--owner", OWNER), "no active assistant of this id"),
        (("helper", "--owner", STRANGER), "no active assistant of this id"),
        (("speaker", "--owner", OWNER, "--text-only"), "no typed chat"),
        (("broken", "--owner", OWNER), "never"),
        (("helper", "--owner", OWNER, "--metadata", "canary=" + "x" * 17_000), "at most 16384"),
    ],
)
def test_what_cannot_be_called(call: Run, arguments: tuple[str, ...], told: str) -> None:
    """A call that cannot be placed is one line that says why, with status 1."""
    result = call("call", *arguments, status=1)
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_stored_prompt_gives_the_terminal_no_orders(env_app: Flask, make_app: MakeApp) -> None:
    """What an error quotes of a template that cannot be used is shown in escapes."""
    record = {"assistant_id": "odd", "assistant_created_by_email": OWNER}
    record |= {"assistant_prompt": "{{#a\x07\x1bc}}"}
    app = make_app({"WEBCALL_ASSISTANTS": json.dumps([record])})
    told = run_on(app)("call", "odd", "--owner", OWNER, status=1).stderr
    assert r"{{#a\x07\x1bc}}" in told


def test_without_livekit(env_app: Flask) -> None:
    """Where LiveKit is down, the line says so and names the command that tells more."""
    told = run_on(env_app)("call", "helper", "--owner", OWNER, status=1).stderr
    assert told.startswith("Error: LiveKit: cannot connect")
    assert "flask webcall check" in told
