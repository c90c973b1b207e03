"""Where LiveKit's clock is ten minutes off this machine's: what goes by it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient

from tests.support.deployment import MakeApp, bearer, store_records
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL
from tests.support.webhooks import PATH, event, signed
from webcall.core.room_events import RoomEvent

HELPER = {"assistant_id": "helper"}
SLACK_S = 15


@pytest.fixture(params=[600, -600])
def ahead_s(request: pytest.FixtureRequest) -> int:
    """How far LiveKit's clock is ahead."""
    found: int = request.param
    return found


@pytest.fixture
def client(
    make_app: MakeApp,
    fake_livekit: FakeLiveKit,
    ahead_s: int,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> FlaskClient:
    """A service that has not heard of LiveKit's clock yet."""
    fake_livekit.ahead_s = ahead_s
    return make_app(fake_livekit.environment | store_records("env", tmp_path, request)).test_client()


def place(client: FlaskClient) -> dict[str, Any]:
    answer = client.post(CALL, json=HELPER, headers=bearer())
    assert answer.status_code == 200, answer.json
    assert answer.json is not None
    return dict(jwt.decode(answer.json["data"]["token"], options={"verify_signature": False}))


def test_tokens_go_by_it(client: FlaskClient, ahead_s: int) -> None:
    """Also that of the very first call, whose answer is the first to tell the time."""
    for _ in range(2):
        claims = place(client)
        off_s = claims["exp"] - (time.time() + ahead_s)
        assert 60 - SLACK_S < off_s <= 60 + 2
        assert claims["nbf"] <= time.time() + ahead_s + 2


def test_events_go_by_it(client: FlaskClient, fake_livekit: FakeLiveKit, ahead_s: int) -> None:
    """An event that has just happened by LiveKit's clock is followed; one by this machine's is stale."""
    seen: list[RoomEvent] = []
    client.application.extensions["webcall"].room_events.subscribe(seen.append)
    place(client)
    for room, at in (("fresh", time.time() + ahead_s), ("stale", time.time())):
        told = event("room_started", room, createdAt=str(int(at)))
        body, signature = signed(told, "key", "s" * 32)
        headers = {"Authorization": signature}
        answer = client.post(PATH, data=body, headers=headers, content_type="application/webhook+json")
        assert answer.status_code == 200
    assert [one.room for one in seen] == ["fresh"]
