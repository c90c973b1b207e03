"""`POST /livekit/webhook`, and the 429 of those who have as many calls as they may."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.deployment import (
    API_KEYS,
    APP_KEY,
    ASSISTANTS,
    OWNER,
    MakeApp,
    bearer,
    livekit_environment,
)
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL
from tests.support.livekit import LiveKitServer
from tests.support.webhooks import PATH, event, sign, signed
from webcall.core.leases import TOO_MANY_CALLS, TOO_MANY_WAITING
from webcall.records import hash_api_key

TWO_KEY = "lvk_two_calls_" + "t" * 33
HELPER = {"assistant_id": "helper"}
RECORDS = [
    *API_KEYS,
    {"api_key_hash": hash_api_key(TWO_KEY), "user_email": OWNER, "max_concurrent_calls": 2},
]


@pytest.fixture
def environment(livekit_server: LiveKitServer) -> dict[str, str]:
    """The sample deployment, and a key that may have two calls at once."""
    records = {"WEBCALL_API_KEYS": json.dumps(RECORDS), "WEBCALL_ASSISTANTS": json.dumps(ASSISTANTS)}
    return (
        livekit_environment(livekit_server) | records | {"WEBCALL_STORES": "env", "WEBCALL_VALIDATORS": "env"}
    )


@pytest.fixture
def app(make_app: MakeApp, environment: dict[str, str]) -> Flask:
    """The service, with two rooms that may wait for one address."""
    return make_app(environment, limits={"waiting_per_address": 2})


def call(client: FlaskClient, key: str, address: str = "127.0.0.1") -> TestResponse:
    return client.post(CALL, json=HELPER, headers=bearer(key), environ_base={"REMOTE_ADDR": address})


def tell(client: FlaskClient, server: LiveKitServer, told: dict[str, Any]) -> TestResponse:
    body, signature = signed(told, server.key, server.secret)
    return client.post(
        PATH, data=body, headers={"Authorization": signature}, content_type="application/webhook+json"
    )


def room_of(answer: TestResponse) -> str:
    assert answer.json is not None
    name: str = answer.json["data"]["room_name"]
    return name


def test_calls_of_a_key(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """Past the key's calls at once there is a 429 with Retry-After; a room that is finished frees a place."""
    rooms = [room_of(call(client, TWO_KEY)) for _ in range(2)]
    refused = call(client, TWO_KEY)
    assert refused.status_code == 429
    assert refused.json == {"success": False, "message": TOO_MANY_CALLS, "data": {}}
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    person = {"identity": "caller", "kind": "STANDARD"}
    assert (
        tell(client, livekit_server, event("participant_joined", rooms[0], participant=person)).status_code
        == 200
    )
    assert call(client, TWO_KEY).status_code == 429, "a live call counts as a waiting one does"
    answer = tell(client, livekit_server, event("room_finished", rooms[0]))
    assert answer.status_code == 200
    assert answer.json == {"success": True, "message": "Event taken", "data": {}}
    assert call(client, TWO_KEY).status_code == 200
    assert call(client, TWO_KEY).status_code == 429


def test_rooms_that_wait(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """An address has so many rooms that nobody has joined, by publishable keys; IPv6 counts by /64."""
    rooms = [room_of(call(client, APP_KEY, "2001:db8::1")) for _ in range(2)]
    refused = call(client, APP_KEY, "2001:db8::ffff:1")
    assert refused.status_code == 429
    assert refused.json == {"success": False, "message": TOO_MANY_WAITING, "data": {}}
    assert call(client, APP_KEY, "2001:db8:0:1::1").status_code == 200
    assert call(client, TWO_KEY, "2001:db8::1").status_code == 200, "a secret key stands on a server"
    agent = {"identity": "agent", "kind": "AGENT"}
    tell(client, livekit_server, event("participant_joined", rooms[0], participant=agent))
    assert call(client, APP_KEY, "2001:db8::1").status_code == 429
    person = {"identity": "caller", "kind": "STANDARD"}
    tell(client, livekit_server, event("participant_joined", rooms[0], participant=person))
    assert call(client, APP_KEY, "2001:db8::1").status_code == 200


def test_a_repeat_takes_no_second_place(client: FlaskClient) -> None:
    """A request repeated with its Idempotency-Key gets its room again, though no place is left."""

    def repeat(header: str) -> TestResponse:
        return client.post(CALL, json=HELPER, headers=bearer(TWO_KEY) | {"Idempotency-Key": header})

    assert len({room_of(repeat("one")) for _ in range(3)}) == 1
    assert repeat("two").status_code == 200
    assert repeat("three").status_code == 429
    assert repeat("one").status_code == 200


def test_calls_that_came_to_nothing(make_app: MakeApp, environment: dict[str, str]) -> None:
    """A LiveKit that fails leaves no place taken."""
    fake = FakeLiveKit()
    try:
        fake.script = lambda exchange: exchange.answer(exchange.body, "500 No", "text/plain")
        client = make_app(environment | {"LIVEKIT_URL": fake.url}).test_client()
        for _ in range(5):
            assert call(client, TWO_KEY).status_code == 500
    finally:
        fake.close()


def test_unsigned_requests(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """What LiveKit has not signed gets one and the same 401 in the envelope, whatever it brings."""
    body, signature = signed(event("room_finished", "x"), livekit_server.key, livekit_server.secret)
    answers = [
        client.post(PATH, data=data, headers=headers)
        for data, headers in (
            (body, {}),
            (b"", {}),
            (body + b" ", {"Authorization": signature}),
            (body, {"Authorization": "Bearer " + signature}),
            (body, bearer()),
            (body, {"Authorization": sign(body, livekit_server.key, "t" * 40)}),
            (body, {"Authorization": "\u00ff"}),
        )
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.data for answer in answers}) == 1
    assert answers[0].json is not None
    assert set(answers[0].json) == {"success", "message", "data"}
    assert all(answer.headers["WWW-Authenticate"] == "Bearer" for answer in answers)


def test_other_requests(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """Too large a body is a 413, another method a 405, what is not understood a 200 without effect."""
    large = b" " * 70_000
    signature = sign(large, livekit_server.key, livekit_server.secret)
    assert client.post(PATH, data=large, headers={"Authorization": signature}).status_code == 413
    assert client.post(PATH, data=large).status_code == 401
    assert client.get(PATH).status_code == 405
    assert tell(client, livekit_server, {"event": "of_tomorrow"}).status_code == 200
    assert tell(client, livekit_server, event("room_finished", "nobody's")).status_code == 200


def test_it_is_not_in_the_document(client: FlaskClient) -> None:
    """The OpenAPI document is for callers, and this is for LiveKit."""
    document = client.get("/openapi.json").json
    assert document is not None
    assert not [path for path in document["paths"] if "livekit" in path]


def test_it_takes_no_place_of_the_gate(app: Flask, livekit_server: LiveKitServer) -> None:
    """While every place is taken by calls, an event is followed all the same."""
    gate = app.extensions["webcall"].gate
    gate.resize(4)
    with ExitStack() as places:
        for _ in range(gate.places):
            places.enter_context(gate.enter())
        assert tell(app.test_client(), livekit_server, event("room_finished", "x")).status_code == 200


def test_an_event_that_could_not_be_followed(
    app: Flask, livekit_server: LiveKitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the storage is down LiveKit is asked to send the event again, which then counts."""
    client = app.test_client()
    rooms = [room_of(call(client, TWO_KEY)) for _ in range(2)]
    services = app.extensions["webcall"]
    told = event("room_finished", rooms[0])

    def down(*_: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(services.leases._store, "end", down)
        answer = tell(client, livekit_server, told)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
    services.storage_health.answered()
    assert call(client, TWO_KEY).status_code == 429
    assert tell(client, livekit_server, told).status_code == 200
    assert call(client, TWO_KEY).status_code == 200
