"""Outages: always a 500, never a 401 or 404, in time, and over without a restart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pymongo
import pytest

from tests.support.deployment import (
    API_KEYS,
    ASSISTANTS,
    MakeApp,
    Service,
    bearer,
    livekit_environment,
    store_records,
)
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL, JSON, at_once, get, send
from tests.support.livekit import LiveKitServer
from tests.support.mongo import MongoServer
from webcall.core import readiness

HEADERS = bearer() | JSON
HELPER = {"assistant_id": "helper"}
MakeService = Callable[[Mapping[str, str]], Service]


def timed(service: Service, headers: Mapping[str, str] = HEADERS) -> tuple[int, float]:
    """Place a call; return its status and the seconds that it took."""
    began = time.monotonic()
    answer = send(service.port, HELPER, headers)
    return answer.status, time.monotonic() - began


def test_mongodb_is_down_and_comes_back(
    make_service: MakeService, livekit_server: LiveKitServer, mongo_outage: MongoServer
) -> None:
    """Without MongoDB good and bad keys get a 500 in time, /ready names it, and it is over by itself."""
    with mongo_outage.client() as client:
        client["webcall"].api_keys.insert_many([dict(record) for record in API_KEYS])
        client["webcall"].assistants.insert_many([dict(record) for record in ASSISTANTS])
    service = make_service(
        livekit_environment(livekit_server)
        | {"MONGODB_URI": mongo_outage.uri, "WEBCALL_VALIDATORS": "env,mongo", "WEBCALL_STORES": "env,mongo"}
    )
    assert timed(service)[0] == 200
    assert get(service.port, "/ready").status == 200
    with mongo_outage.frozen():
        for headers in (HEADERS, bearer("lvk_unknown") | JSON):
            status, took = timed(service, headers)
            assert status == 500
            assert took < 2 + 1
    mongo_outage.stop()
    for headers in (HEADERS, bearer("lvk_unknown") | JSON):
        status, took = timed(service, headers)
        assert status == 500
        assert took < 2 + 1
    not_ready = get(service.port, "/ready")
    assert not_ready.status == 503
    assert not_ready.json["data"]["down"] == ["mongo"]
    assert get(service.port, "/health").status == 200
    mongo_outage.start()
    with pymongo.MongoClient[dict[str, Any]](mongo_outage.uri) as again:
        # nx-27017 keeps its data in memory.
        if not again["webcall"].api_keys.count_documents({}):
            again["webcall"].api_keys.insert_many([dict(record) for record in API_KEYS])
            again["webcall"].assistants.insert_many([dict(record) for record in ASSISTANTS])
    recovered = time.monotonic() + 15
    while (status := timed(service)[0]) != 200:
        assert status == 500
        assert time.monotonic() < recovered


def test_an_outage_ends_the_asking(
    make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A key that a later backend knows gets a 500 while an earlier one is down: it may not decide then."""
    records = store_records("env", tmp_path, request)
    records |= {"MONGODB_URI": "mongodb://127.0.0.1:9", "WEBCALL_VALIDATORS": "mongo,env"}
    client = make_app(livekit_environment(livekit_server) | records).test_client()
    assert client.post(CALL, json=HELPER, headers=bearer()).status_code == 500


def test_livekit_is_down_and_comes_back(
    make_service: MakeService, livekit_binary: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Without LiveKit a call gets a 500, /ready names it, and a new LiveKit is found by itself."""
    server = LiveKitServer(livekit_binary, tmp_path)
    server.start()
    try:
        service = make_service(livekit_environment(server) | store_records("env", tmp_path, request))
        assert timed(service)[0] == 200
        server.stop()
        status, took = timed(service)
        assert status == 500
        assert took < 5 + 1
        not_ready = get(service.port, "/ready")
        assert (not_ready.status, not_ready.json["data"]["down"]) == (503, ["livekit"])
        server.start()
        assert timed(service)[0] == 200
    finally:
        server.stop()


def test_livekit_hangs_and_recovers(
    make_service: MakeService, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A LiveKit that takes requests and never answers costs timeout_s and a second at most."""
    fake = FakeLiveKit()
    fake.script = lambda _: None
    service = make_service(fake.environment | store_records("env", tmp_path, request))
    status, took = timed(service)
    assert status == 500
    assert took < 5 + 1
    fake.script = lambda exchange: exchange.serve()
    assert timed(service)[0] == 200
    fake.close()


def test_a_file_that_never_was_good(
    make_app: MakeApp,
    livekit_server: LiveKitServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keys in a broken file are an outage until it is fixed; what was good once goes on serving."""
    monkeypatch.setattr(readiness, "KEPT_S", 0)
    records = store_records("file", tmp_path, request)
    keys = Path(records["WEBCALL_API_KEYS_FILE"])
    good = keys.read_text()
    keys.write_text("[{")
    client = make_app(livekit_environment(livekit_server) | records).test_client()

    def status(key: str) -> int:
        return client.post(CALL, json=HELPER, headers={"Authorization": f"Bearer {key}"}).status_code

    assert status("lvk_unknown") == 500
    assert client.get("/ready").status_code == 503
    keys.write_text(good)
    assert status("lvk_unknown") == 401
    assistants = Path(records["WEBCALL_ASSISTANTS_FILE"])
    assistants.write_text("nonsense")
    answer = client.post(CALL, json=HELPER, headers=bearer())
    assert answer.status_code == 200, "the last good contents go on serving"
    ready = client.get("/ready")
    assert ready.status_code == 200
    assert ready.json is not None
    assert ready.json["data"]["degraded"] == ["file"]


def test_readiness_is_kept_for_a_second(
    make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Many probes ask LiveKit once a second, not once each."""
    fake = FakeLiveKit()
    client = make_app(fake.environment | store_records("env", tmp_path, request)).test_client()
    began = time.monotonic()
    for _ in range(50):
        assert client.get("/ready").status_code == 200
    assert fake.count("ListRooms") <= 2 + (time.monotonic() - began)
    fake.close()


def test_a_dead_livekit_costs_few_callers_the_timeout(
    make_service: MakeService, livekit_binary: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """In two workers: 500 at once while LiveKit hangs, told once each, and calls again when it is back."""
    server = LiveKitServer(livekit_binary, tmp_path)
    server.start()
    try:
        service = make_service(
            livekit_environment(server)
            | store_records("env", tmp_path, request)
            | {"WEBCALL_WORKERS": "2", "WEBCALL_LIMIT_PER_KEY": "off"}
        )
        assert timed(service)[0] == 200
        with server.frozen():
            deadline = time.monotonic() + 30
            # Which worker takes a connection is the system's choice, and each has to see for itself.
            while "\nwebcall_livekit_away 2.0" not in get(service.port, "/metrics").body.decode():
                assert time.monotonic() < deadline
                hanging = at_once(60, lambda _: timed(service))
                assert {status for status, _ in hanging} == {500}
                assert max(took for _, took in hanging) < 5 + 1
            answered = [timed(service) for _ in range(50)]
            assert {status for status, _ in answered} == {500}
            assert max(took for _, took in answered) < 1
            assert get(service.port, "/health").status == 200
            assert "\nwebcall_livekit_away 2.0" in get(service.port, "/metrics").body.decode()
        recovered = time.monotonic() + 5
        while timed(service)[0] != 200:
            assert time.monotonic() < recovered
        # Each worker finds out for itself.
        while "\nwebcall_livekit_away 0.0" not in get(service.port, "/metrics").body.decode():
            assert time.monotonic() < recovered
        # By now every ping from before has been answered: a 503 is one that was kept, from a check that the
        # metrics above have begun.
        kept_until = time.monotonic() + readiness.KEPT_S + 1
        assert [timed(service)[0] for _ in range(50)] == [200] * 50
        while (ready := get(service.port, "/ready")).status != 200:
            assert time.monotonic() < kept_until, ready.body
            assert ready.json["data"] == {"down": ["livekit"], "degraded": []}
        log = service.log.read_text()
        assert log.count('"livekit away"') == log.count('"livekit answers again"') == 2
    finally:
        server.stop()
