"""`Idempotency-Key` on the real LiveKit server: repeats get the same call, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from livekit import api, rtc

from tests.support.deployment import (
    KEY,
    PAGE,
    PAGE_KEY,
    PLAIN_KEY,
    MakeApp,
    Service,
    bearer,
    livekit_environment,
    store_records,
)
from tests.support.fake_livekit import Exchange, FakeLiveKit
from tests.support.http import CALL, JSON, at_once, send
from tests.support.livekit import LiveKitServer
from webcall.core import livekit_nodes
from webcall.core.idempotency import GENERATIONS, derived_candidates
from webcall.core.server_clock import ServerClock
from webcall.records import hash_api_key

BODY = {"assistant_id": "helper", "metadata": {"customer": {"name": "Jo"}}}


@pytest.fixture
def header() -> str:
    """A value that no other test has used: the LiveKit server is shared."""
    return str(uuid.uuid4())


def ask(client: FlaskClient, header: str, body: Any = BODY, key: str = KEY, **headers: str) -> Any:
    return client.post(CALL, json=body, headers=bearer(key) | {"Idempotency-Key": header} | headers)


def placed(client: FlaskClient, header: str, body: Any = BODY, key: str = KEY) -> dict[str, Any]:
    answer = ask(client, header, body, key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json["data"])


def claims(data: Mapping[str, Any]) -> dict[str, Any]:
    return dict(jwt.decode(data["token"], options={"verify_signature": False}))


def dispatches(server: LiveKitServer, room: str) -> int:
    async def count() -> int:
        async with server.api() as livekit:
            return len(await livekit.agent_dispatch.list_dispatch(room))

    return asyncio.run(count())


def delete(server: LiveKitServer, room: str) -> None:
    async def close() -> None:
        async with server.api() as livekit:
            await livekit.room.delete_room(api.DeleteRoomRequest(room=room))

    asyncio.run(close())


class Clock:
    """The time by which tokens are judged, put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ServerClock, "now", lambda _: datetime.now(UTC) + clock.ahead)
    # LiveKit, which dates people's joining, is not put forward.
    monkeypatch.setattr(livekit_nodes, "_NEWCOMER_S", 300)
    return clock


def test_fifty_repeats_at_once_are_one_call(
    make_service: Callable[[Mapping[str, str]], Service],
    livekit_server: LiveKitServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    header: str,
) -> None:
    """Under gunicorn's processes and threads: one room, one identity, one dispatch, one end of the token."""
    records = store_records("file", tmp_path, request)
    more = {"WEBCALL_WORKERS": "2", "WEBCALL_LIMIT_PER_KEY": "off"}
    service = make_service(livekit_environment(livekit_server) | records | more)
    headers = bearer() | JSON | {"Idempotency-Key": header}
    # The same JSON value, in two orders.
    bodies = [BODY, dict(reversed(BODY.items()))]
    answers = at_once(50, lambda turn: send(service.port, bodies[turn % 2], headers))
    assert [answer.status for answer in answers] == [200] * 50
    found = [answer.json["data"] for answer in answers]
    assert len({data["room_name"] for data in found}) == 1
    assert len({claims(data)["sub"] for data in found}) == 1
    assert len({data["expires_at"] for data in found}) == 1
    assert all(
        claims(data)["exp"] == datetime.fromisoformat(data["expires_at"]).timestamp() for data in found
    )
    assert dispatches(livekit_server, found[0]["room_name"]) == 1


def test_a_repeat_gets_a_token_that_joins(
    client: FlaskClient, livekit_server: LiveKitServer, header: str
) -> None:
    """The repeat's token is accepted by LiveKit; without the header the next call is another one."""
    first, second = placed(client, header), placed(client, header)
    address = f"{livekit_server.http_url}/rtc/validate?access_token={second['token']}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.read() == b"success"
    assert first["room_name"] == second["room_name"]
    other = client.post(CALL, json=BODY, headers=bearer())
    assert other.json is not None
    assert other.json["data"]["room_name"] != first["room_name"]


def test_who_is_another_gets_another_call(client: FlaskClient, header: str) -> None:
    """The same header with another key, assistant or value shares neither room nor identity."""
    calls = [
        placed(client, header),
        placed(client, header, key=PLAIN_KEY),
        placed(client, header, BODY | {"assistant_id": "other"}),
        placed(client, header.upper()),
    ]
    assert len({data["room_name"] for data in calls}) == 4
    assert len({data["room_name"][-8:] for data in calls}) == 4
    assert len({claims(data)["sub"] for data in calls}) == 4


def test_another_body_is_refused(client: FlaskClient, livekit_server: LiveKitServer, header: str) -> None:
    """Another JSON value is a 422 while the call lives, whatever differs; an equal one is the same call."""
    room = placed(client, header)["room_name"]
    for other in (
        {"assistant_id": "helper"},
        BODY | {"text_only": True},
        BODY | {"metadata": {"customer": {"name": "jo"}}},
        BODY | {"metadata": {"customer": {"name": "Jo"}, "more": None}},
    ):
        answer = ask(client, header, other)
        assert answer.status_code == 422
        assert list(answer.json["data"]["errors"]) == ["Idempotency-Key"]
        assert "Jo" not in answer.text
    spread = json.dumps(dict(reversed(BODY.items())), indent=4).replace("J", "\\u004a")
    headers = bearer() | JSON | {"Idempotency-Key": header}
    same = client.post(CALL, data=spread, headers=headers)
    assert same.json is not None
    assert same.json["data"]["room_name"] == room
    delete(livekit_server, room)
    assert ask(client, header, {"assistant_id": "helper"}).status_code == 200


@pytest.mark.parametrize("value", ["", " ", "x" * 256, "a\tb", "caf\u00e9 as latin-1"])
def test_headers_that_cannot_be_used(client: FlaskClient, value: str) -> None:
    """An empty, too long or unprintable header is a 422 of its own name, and places no call."""
    answer = ask(client, value)
    assert answer.status_code == 422
    assert list(answer.json["data"]["errors"]) == ["Idempotency-Key"]


def test_a_publishable_key_takes_uuids_only(client: FlaskClient, header: str) -> None:
    """Visitors share such a key: a value that could be guessed is refused."""
    body = {"assistant_id": "helper"}
    assert ask(client, "cart-1", body, PAGE_KEY, Origin=PAGE).status_code == 422
    first, second = (ask(client, header, body, PAGE_KEY, Origin=PAGE) for _ in range(2))
    assert first.status_code == second.status_code == 200, first.text
    assert first.json["data"]["room_name"] == second.json["data"]["room_name"]


def test_until_somebody_joins_the_first_token_sets_the_end(
    client: FlaskClient, livekit_server: LiveKitServer, clock: Clock, header: str
) -> None:
    """A repeat's token ends with the first; after that a repeat is a new call, and stays that one."""
    first = placed(client, header)
    clock.ahead = timedelta(seconds=40)
    repeat = placed(client, header)
    assert repeat["room_name"] == first["room_name"]
    assert repeat["expires_at"] == first["expires_at"]
    clock.ahead = timedelta(seconds=61)
    second = placed(client, header)
    assert second["room_name"] != first["room_name"]
    assert claims(second)["sub"] != claims(first)["sub"]
    assert placed(client, header)["room_name"] == second["room_name"]
    # As LiveKit closes it: the first name is free, while the second call goes on.
    delete(livekit_server, first["room_name"])
    assert placed(client, header)["room_name"] == second["room_name"]
    assert dispatches(livekit_server, second["room_name"]) == 1


def test_a_living_call_is_joined_again(
    client: FlaskClient, livekit_server: LiveKitServer, clock: Clock, header: str
) -> None:
    """Somebody inside: the same room and identity with a whole new lifetime, from the first moment on."""
    first = placed(client, header)

    async def stay() -> tuple[dict[str, Any], dict[str, Any]]:
        room = rtc.Room()
        await room.connect(first["server_url"], first["token"], rtc.RoomOptions(connect_timeout=10))
        try:
            # LiveKit's own number of people lags at this moment.
            clock.ahead = timedelta(seconds=200)
            at_first = await asyncio.to_thread(placed, client, header)
            deadline = time.monotonic() + 15
            async with livekit_server.api() as livekit:
                names = api.ListRoomsRequest(names=[first["room_name"]])
                while (await livekit.room.list_rooms(names)).rooms[0].num_participants == 0:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
            return at_first, await asyncio.to_thread(placed, client, header)
        finally:
            await room.disconnect()

    for repeat in asyncio.run(stay()):
        assert repeat["room_name"] == first["room_name"]
        assert claims(repeat)["sub"] == claims(first)["sub"]
        ends_in = datetime.fromisoformat(repeat["expires_at"]) - datetime.now(UTC)
        assert 250 < ends_in.total_seconds() <= 260
    assert dispatches(livekit_server, first["room_name"]) == 1


def test_a_strangers_room_of_the_name_is_not_entered(
    client: FlaskClient, livekit_server: LiveKitServer, header: str
) -> None:
    """Where a stranger's room has the name, the next generation's is taken, repeat after repeat."""
    first, second, *_ = derived_candidates(
        api_secret=livekit_server.secret,
        counted_as=hash_api_key(KEY),
        assistant_id="helper",
        header=header,
        body=BODY,
    )

    async def occupy() -> None:
        async with livekit_server.api() as livekit:
            await livekit.room.create_room(
                api.CreateRoomRequest(name=first.room_name, metadata='{"nonce": "a stranger\'s"}')
            )

    asyncio.run(occupy())
    for _ in range(2):
        data = placed(client, header)
        assert data["room_name"] == second.room_name
        assert claims(data)["sub"] == second.identity


def test_calls_that_nobody_joins_are_bounded(client: FlaskClient, clock: Clock, header: str) -> None:
    """One header keeps at most so many assistants waiting; then it is a 429 that says what to do."""
    for _ in range(GENERATIONS):
        assert ask(client, header).status_code == 200
        clock.ahead += timedelta(seconds=61)
    answer = ask(client, header)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert "Idempotency-Key" in answer.json["message"]


def test_a_call_whose_creation_was_not_answered_is_found_by_its_repeat(
    make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest, header: str
) -> None:
    """LiveKit made the room and its answer was lost: the repeat gets that room, which nobody removes."""
    fake = FakeLiveKit()
    environment = fake.environment | store_records("env", tmp_path, request)
    client = make_app(environment, livekit={"timeout_s": 0.5}).test_client()

    def silent_once(exchange: Exchange) -> None:
        if exchange.method == "CreateRoom":
            fake.script = Exchange.serve
            exchange.make_room_in_silence()
        else:
            exchange.serve()

    fake.script = silent_once
    try:
        assert ask(client, header).status_code == 500
        [room] = fake.rooms
        assert placed(client, header)["room_name"] == room
        # A call without the header, whose room is removed: by then the other one would be, too.
        fake.script = silent_once
        assert client.post(CALL, json=BODY, headers=bearer()).status_code == 500
        assert fake.deleted.wait(10)
        assert list(fake.rooms) == [room]
    finally:
        fake.close()


def test_the_rooms_metadata_holds_no_plain_digest(
    app: Flask, livekit_server: LiveKitServer, header: str
) -> None:
    """What a browser can read of a repeatable call's room is a nonce, keyed digests and a time."""
    data = placed(app.test_client(), header)
    livekit = app.extensions["webcall"].livekit
    room = livekit.rooms([data["room_name"]])[data["room_name"]]
    assert set(json.loads(room.metadata)) == {"nonce", "body", "expires", "draw"}
    for secret in (header, "Jo", hash_api_key(KEY), KEY[:12]):
        assert secret not in room.metadata
