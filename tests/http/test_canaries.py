"""No key, token, secret, prompt or metadata in any answer or log line, faults included."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support import canaries
from tests.support.canaries import ASSISTANTS, BAD_KEY, KEY
from tests.support.deployment import Service, bearer, livekit_environment
from tests.support.http import JSON, get, send
from tests.support.livekit import LiveKitServer


def test_no_canary_gets_out(
    make_service: Callable[[Mapping[str, str]], Service], livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """With every kind of request and fault, at the most talkative level, nothing secret is written."""
    searched = canaries.search(make_service, livekit_server, tmp_path)
    assert searched.logs.count(b'"event": "request"') >= searched.requests
    assert searched.found() == []


def test_the_search_finds() -> None:
    """A canary in an answer, a key in a log and a traceback there are found: else silence means nothing."""
    for text in (b"a CANARY", KEY.encode(), b"Traceback (most"):
        assert canaries.Search([text], b"", [KEY], 1).found()
        assert canaries.Search([], text, [KEY], 1).found()
    assert canaries.Search([b"fine"], b"fine", [KEY], 1).found() == []


def test_each_request_has_one_line(
    make_service: Callable[[Mapping[str, str]], Service], livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """A request's line holds method, route, status, milliseconds, request id, owner, assistant and room."""
    assistants = tmp_path / "assistants.json"
    assistants.write_text(json.dumps(ASSISTANTS))
    service = make_service(
        livekit_environment(livekit_server)
        | {"WEBCALL_API_KEY": KEY, "WEBCALL_OWNER": "ada@example.com", "WEBCALL_STORES": "file"}
        | {"WEBCALL_ASSISTANTS_FILE": str(assistants), "WEBCALL_VALIDATORS": "env"}
    )
    answer = send(service.port, {"assistant_id": "good"}, bearer(KEY) | JSON | {"X-Request-ID": "mine-1"})
    send(service.port, {"assistant_id": "good"}, bearer(BAD_KEY) | {"X-Request-ID": "mine-2"})
    get(service.port, "/nowhere")
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    ours = [line for line in lines if line["event"] == "request" and line["route"] != "/health"]
    assert [(line["method"], line["route"], line["status"]) for line in ours] == [
        ("POST", "/web_call/get_token", 200),
        ("POST", "/web_call/get_token", 401),
        ("GET", None, 404),
    ]
    assert ours[0]["request_id"] == "mine-1"
    assert ours[0]["owner"] == "ada@example.com"
    assert ours[0]["assistant_id"] == "good"
    assert ours[0]["room"] == answer.json["data"]["room_name"]
    assert ours[0]["ms"] > 0
    assert ours[0]["level"] == "info"
    assert "owner" not in ours[1]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_both_formats(
    make_service: Callable[[Mapping[str, str]], Service],
    livekit_server: LiveKitServer,
    tmp_path: Path,
    log_format: str,
) -> None:
    """log.format chooses between a JSON object a line and words for a terminal."""
    environment = livekit_environment(livekit_server) | {"WEBCALL_LOG_FORMAT": log_format}
    service = make_service(environment | {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env"})
    get(service.port, "/health")
    service.stop()
    lines = service.log.read_text().splitlines()
    assert len(lines) > 3
    for line in lines:
        assert line.startswith("{") is (log_format == "json"), line
        if log_format == "json":
            assert {"event", "level", "timestamp"} <= set(json.loads(line))
