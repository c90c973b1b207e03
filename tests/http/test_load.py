"""Many calls at once, a hanging LiveKit, and a forced clash of names."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from livekit import api

from tests.support.deployment import MakeApp, Service, bearer, livekit_environment, store_records
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import JSON, at_once, get, send
from tests.support.livekit import LiveKitServer
from webcall.core import rooms

HEADERS = bearer() | JSON
HELPER = {"assistant_id": "helper"}
MakeService = Callable[[Mapping[str, str]], Service]


def test_200_calls_at_once(
    make_service: MakeService, livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """200 calls at once get 200 different rooms, each with one dispatch of its own metadata."""
    environment = livekit_environment(livekit_server) | store_records("file", tmp_path, request)
    service = make_service(environment | {"WEBCALL_LIMIT_PER_KEY": "off"})

    def call(number: int) -> Any:
        return send(service.port, HELPER | {"metadata": {"number": number}}, HEADERS)

    answers = at_once(200, call)
    assert [answer.status for answer in answers] == [200] * 200
    names = [answer.json["data"]["room_name"] for answer in answers]
    tokens = [answer.json["data"]["token"] for answer in answers]
    identities = {jwt.decode(token, options={"verify_signature": False})["sub"] for token in tokens}
    assert len(set(names)) == len(identities) == 200

    async def dispatched() -> list[int]:
        async with livekit_server.api() as client:
            rooms = await client.room.list_rooms(api.ListRoomsRequest(names=names))
            assert len(rooms.rooms) == 200
            found = []
            for name in names:
                [dispatch] = await client.agent_dispatch.list_dispatch(name)
                found.append(json.loads(dispatch.metadata)["number"])
            return found

    assert asyncio.run(dispatched()) == list(range(200))


def test_one_call_is_one_request(
    make_app: MakeApp, fake_livekit: FakeLiveKit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What LiveKit gets for a call is one CreateRoom, counted at the wire."""
    client = make_app(fake_livekit.environment | store_records("env", tmp_path, request)).test_client()
    for number in range(1, 4):
        assert client.post("/web_call/get_token", json=HELPER, headers=bearer()).status_code == 200
        assert fake_livekit.requests == ["CreateRoom"] * number


def test_a_clash_of_names_draws_another(
    make_app: MakeApp,
    livekit_server: LiveKitServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a living room has the name, another is drawn: two callers never meet, on the real server."""
    environment = livekit_environment(livekit_server) | store_records("env", tmp_path, request)
    client = make_app(environment).test_client()
    suffixes, draw = iter(["aaaaaaaa", "aaaaaaaa", "aaaaaaaa", "bbbbbbbb"]), rooms.draw
    monkeypatch.setattr(rooms, "draw", lambda digits: next(suffixes) + draw(digits - 8))
    first, second = (
        client.post("/web_call/get_token", json=HELPER | {"metadata": {"who": who}}, headers=bearer())
        for who in ("first", "second")
    )
    assert first.json is not None
    assert second.json is not None
    assert first.json["data"]["room_name"] == "helper_aaaaaaaa"
    assert second.json["data"]["room_name"] == "helper_bbbbbbbb"
    claims = jwt.decode(second.json["data"]["token"], options={"verify_signature": False})
    assert claims["video"]["room"] == "helper_bbbbbbbb"

    async def dispatches() -> list[str]:
        async with livekit_server.api() as client:
            found = [await client.agent_dispatch.list_dispatch(f"helper_{x * 8}") for x in "ab"]
            for x in "ab":
                await client.room.delete_room(api.DeleteRoomRequest(room=f"helper_{x * 8}"))
            return [json.loads(dispatch.metadata)["who"] for [dispatch] in found]

    assert asyncio.run(dispatches()) == ["first", "second"]


def test_metadata_that_swells_the_dispatch(
    make_app: MakeApp, fake_livekit: FakeLiveKit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What LiveKit would not take because of the caller's metadata is a 422, and no request to LiveKit."""
    environment = fake_livekit.environment | store_records("env", tmp_path, request)
    text = "{{#l}}{{call.a}}{{/l}}"
    record = {"assistant_id": "loud", "assistant_created_by_email": "ada@example.com"}
    record |= {"assistant_prompt": text, "assistant_start_instruction": text}
    environment["WEBCALL_ASSISTANTS"] = json.dumps([record])
    client = make_app(environment).test_client()
    # Control characters are one byte each in a field, and six in JSON.
    body = {"assistant_id": "loud", "metadata": {"a": "\u0001" * 2600, "l": [1] * 24}}
    answer = client.post("/web_call/get_token", json=body, headers=bearer())
    assert answer.status_code == 422
    assert fake_livekit.requests == []


def test_names_that_clash_for_ever_are_an_error(
    make_app: MakeApp,
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where no name is free, the answer is a 500 and never somebody else's room."""
    client = make_app(fake_livekit.environment | store_records("env", tmp_path, request)).test_client()
    monkeypatch.setattr(rooms, "draw", "a".__mul__)
    fake_livekit.rooms["helper_aaaaaaaa"] = '{"nonce": "theirs"}'
    answer = client.post("/web_call/get_token", json=HELPER, headers=bearer())
    assert answer.status_code == 500


def test_health_answers_while_livekit_hangs(
    make_service: MakeService, fake_livekit: FakeLiveKit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """With more calls than threads and LiveKit hanging, /health answers; the calls get 500 or 503."""
    records = store_records("env", tmp_path, request)
    environment = (
        fake_livekit.environment | records | {"WEBCALL_THREADS": "16", "WEBCALL_LIMIT_PER_KEY": "off"}
    )
    service = make_service(environment)
    fake_livekit.script = lambda _: None
    slowest = 0.0

    def call(_: int) -> tuple[Any, float]:
        began = time.monotonic()
        answer = send(service.port, HELPER, HEADERS)
        return answer, time.monotonic() - began

    with ThreadPoolExecutor(48) as pool:
        calls = [pool.submit(call, number) for number in range(48)]
        while fake_livekit.count("CreateRoom") < 14:
            time.sleep(0.01)
        while not all(future.done() for future in calls):
            began = time.monotonic()
            assert get(service.port, "/health").status == 200
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.05)
    assert slowest < 1
    answers = [future.result() for future in calls]
    assert {answer.status for answer, _ in answers} == {500, 503}
    assert max(took for _, took in answers) < 5 + 1 + 1
    for answer, _ in answers:
        if answer.status == 503:
            assert int(answer.headers["Retry-After"]) >= 1
    fake_livekit.script = lambda exchange: exchange.serve()
    back = time.monotonic() + 5
    while send(service.port, HELPER, HEADERS).status != 200:
        assert time.monotonic() < back
