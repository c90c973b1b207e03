"""Leases follow real people in real rooms, through LiveKit's own webhooks, in one process and in two."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from livekit import api, rtc

from tests.support.deployment import (
    APP_KEY,
    ASSISTANTS,
    OWNER,
    Service,
    bearer,
    livekit_environment,
    settings,
)
from tests.support.http import JSON, Answer, at_once, send
from tests.support.livekit import LiveKitServer
from tests.support.programs import free_port
from webcall.core.leases import TOO_MANY_CALLS, TOO_MANY_WAITING
from webcall.records import hash_api_key

HELPER = {"assistant_id": "helper"}
THREE_KEY = "lvk_three_calls_" + "t" * 31
KEYS = [
    {
        "api_key_hash": hash_api_key(APP_KEY),
        "user_email": OWNER,
        "allowed_assistants": ["helper"],
        "native": True,
        "max_concurrent_calls": 2,
    },
    {"api_key_hash": hash_api_key(THREE_KEY), "user_email": OWNER, "max_concurrent_calls": 3},
]
# LiveKit's event, its way to the service, and a moment of a busy machine.
SOON_S = 5


@pytest.fixture(params=[("memory", 1), ("redis", 2)], ids=["memory", "redis-two-processes"])
def deployment(
    request: pytest.FixtureRequest, livekit_binary: Path, tmp_path: Path
) -> Iterator[tuple[Service, LiveKitServer]]:
    """The service under gunicorn, and a LiveKit of its own that knows its webhook."""
    storage, workers = request.param
    uri = "memory://" if storage == "memory" else request.getfixturevalue("redis_uri")
    port = free_port()
    server = LiveKitServer(livekit_binary, tmp_path, [f"http://127.0.0.1:{port}/livekit/webhook"])
    config = settings(
        limits={
            "waiting_per_address": 1,
            "storage_uri": uri,
            "per_key": "off",
            "publishable_per_address": "off",
        },
        call={"departure_timeout_s": 1},
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    service = Service(
        livekit_environment(server)
        | {"WEBCALL_CONFIG": str(tmp_path / "config.yaml"), "WEBCALL_WORKERS": str(workers)}
        | {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env", "WEBCALL_API_KEYS": json.dumps(KEYS)}
        | {"WEBCALL_ASSISTANTS": json.dumps(ASSISTANTS)},
        tmp_path / "service.log",
        port,
    )
    try:
        server.start()
        yield service.start(), server
    finally:
        service.stop()
        server.stop()


def call(service: Service, key: str = APP_KEY) -> Answer:
    return send(service.port, HELPER, bearer(key) | JSON)


def message(answer: Answer) -> str:
    assert answer.status == 429, answer.body
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    text: str = answer.json["message"]
    return text


async def soon(ask: Callable[[], Answer], status: int) -> Answer:
    """Ask until the answer has this status: the event is on its way."""
    until = time.monotonic() + SOON_S
    while (answer := await asyncio.to_thread(ask)).status != status:
        assert time.monotonic() < until, f"not {status} within {SOON_S} s: {answer.status} {answer.body!r}"
        await asyncio.sleep(0.05)
    return answer


def test_a_person_joins_and_leaves(deployment: tuple[Service, LiveKitServer]) -> None:
    """The place of those that wait is free once the person is in, the key's once the room has closed."""
    service, server = deployment
    first = call(service).json["data"]
    assert message(call(service)) == TOO_MANY_WAITING

    async def meet() -> None:
        person = rtc.Room()
        await person.connect(first["server_url"], first["token"], rtc.RoomOptions(connect_timeout=10))
        try:
            second = (await soon(lambda: call(service), 200)).json["data"]
            assert message(await asyncio.to_thread(call, service)) == TOO_MANY_CALLS
        finally:
            await person.disconnect()
        # Its room closes a second after that, and the second one waits still.
        until = time.monotonic() + SOON_S
        while (told := message(await asyncio.to_thread(call, service))) != TOO_MANY_WAITING:
            assert told == TOO_MANY_CALLS
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        async with server.api() as livekit:
            await livekit.room.delete_room(api.DeleteRoomRequest(room=second["room_name"]))
        await soon(lambda: call(service), 200)

    asyncio.run(meet())
    assert first["token"].encode() not in service.log.read_bytes()


def test_the_last_places_at_once(deployment: tuple[Service, LiveKitServer]) -> None:
    """Of 50 calls at once with a key that may have three, exactly three get a room, in any process."""
    service, server = deployment
    answers = at_once(50, lambda _: call(service, THREE_KEY))
    assert sorted(answer.status for answer in answers) == [200] * 3 + [429] * 47
    assert {message(answer) for answer in answers if answer.status == 429} == {TOO_MANY_CALLS}

    async def rooms() -> list[Any]:
        async with server.api() as livekit:
            return list((await livekit.room.list_rooms(api.ListRoomsRequest())).rooms)

    assert len(asyncio.run(rooms())) == 3
