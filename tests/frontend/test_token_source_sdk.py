"""`token_source`, asked by LiveKit's own library from npm: in Node, and in Chromium on another origin."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from scripts import frontend
from tests.http.test_openapi import FIELDS
from tests.support import programs
from tests.support.deployment import (
    APP_KEY,
    KEY,
    OWNER,
    Service,
    bearer,
    livekit_environment,
    store_records,
)
from tests.support.listeners import serving_files
from tests.support.livekit import LiveKitServer
from webcall.records import hash_api_key

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SCRIPT = Path(__file__).with_name("token_source.mjs")
PATH = "/web_call/token_source"
SITE_KEY = "lvp_site_" + "s" * 38


@pytest.fixture(scope="session")
def library() -> tuple[Path, Path]:
    """Node, and the folder with LiveKit's library."""
    try:
        return frontend.node(), frontend.ensure_modules()
    except frontend.NoFrontend as error:
        programs.without("node", str(error))


@pytest.fixture
def page_url(tmp_path: Path) -> Iterator[str]:
    """A page of another origin than the service's that loads LiveKit's library."""
    folder = tmp_path / "page"
    folder.mkdir()
    try:
        (folder / "livekit.js").write_bytes(frontend.ensure_library().read_bytes())
    except frontend.NoFrontend as error:
        programs.without("livekit-client", str(error))
    (folder / "index.html").write_text("<!doctype html><title>page</title><script src=livekit.js></script>")
    with serving_files(folder) as url:
        yield url


@pytest.fixture
def environment(
    livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> dict[str, str]:
    """The sample deployment on the real LiveKit server."""
    return livekit_environment(livekit_server) | store_records("env", tmp_path, request)


def ask(library: tuple[Path, Path], url: str, *steps: dict[str, Any]) -> dict[str, Any]:
    """Run the steps in Node; return the answers and LiveKit's schema."""
    node, modules = library
    run = subprocess.run(
        [node, SCRIPT, modules, url], input=json.dumps(steps), capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def claims(answer: Mapping[str, Any]) -> dict[str, Any]:
    return dict(jwt.decode(answer["participantToken"], options={"verify_signature": False}))


def test_livekits_library_gets_calls_in_node(
    library: tuple[Path, Path],
    make_service: Callable[[Mapping[str, str]], Service],
    environment: dict[str, str],
    livekit_server: LiveKitServer,
) -> None:
    """Every option of the library does what it does here, or is refused; each fetch is a new call."""
    service = make_service(environment)
    key = bearer()
    person = {
        "participantName": "Jo",
        "participantMetadata": "a guest",
        "participantAttributes": {"colour": "blue"},
    }
    helper = {"agentName": "helper", "agentMetadata": '{"customer": {"name": "Jo"}}'}
    found = ask(
        library,
        service.url + PATH,
        {"headers": key, "options": helper | person, "fetches": 3},
        {"headers": {"X-Sandbox-Id": APP_KEY}, "options": {}},
        {"headers": key, "options": {"agentName": "helper", "roomName": "mine"}},
        {"headers": key, "options": {"agentName": "helper", "participantIdentity": "me"}},
        {"headers": key, "options": {"agentName": "helper", "deployment": "staging"}},
        {"headers": key, "options": {"agentName": "helper", "agentMetadata": "text"}},
        {"headers": key, "options": {}},
        {"headers": {}, "options": {}},
        {"headers": key | {"Idempotency-Key": "once"}, "options": {"agentName": "helper"}, "fetches": 2},
    )
    assert {name: set(fields) for name, fields in found["schema"].items()} == {
        "TokenSourceRequest": FIELDS["TokenSourceRequest"],
        "RoomConfiguration": FIELDS["RoomConfiguration"],
        "RoomAgentDispatch": FIELDS["AgentDispatch"],
    }
    calls, [app], [room], [identity], [deployment], [metadata], [none], [nobody], repeats = found["answers"]
    for answer in calls:
        assert answer["serverUrl"] == livekit_server.url
        told = claims(answer)
        assert (told["name"], told["metadata"]) == ("Jo", "a guest")
        assert told["attributes"] == {"colour": "blue"}
        assert told["video"]["room"].startswith("helper_")
    rooms = {claims(answer)["video"]["room"] for answer in calls}
    assert len(rooms) == 3, "the library must not use a token again: its room may be gone"
    assert claims(app)["video"]["room"].startswith("helper_")
    for answer, field in (
        (room, "room_name"),
        (identity, "participant_identity"),
        (deployment, "room_config.agents.0.deployment"),
        (metadata, "room_config.agents.0.metadata"),
        (none, "room_config.agents.0.agent_name"),
    ):
        assert "received 422" in answer["error"]
        assert f'"{field}"' in answer["error"]
    assert "received 401" in nobody["error"]
    assert len({claims(answer)["video"]["room"] for answer in repeats}) == 1


JOIN = """async ([url, headers, options]) => {
  const {TokenSource, Room} = LivekitClient;
  const source = TokenSource.endpoint(url, {headers});
  const {serverUrl, participantToken} = await source.fetch(options);
  const room = new Room();
  await room.connect(serverUrl, participantToken);
  const found = [room.name, room.localParticipant.name];
  await room.disconnect();
  return found;
}"""
# What LiveKit's React starter sends: its body, and no Authorization.
STARTER = """async ([url, key, body]) => {
  const headers = {"Content-Type": "application/json", "X-Sandbox-Id": key};
  const answer = await fetch(url, {method: "POST", headers, body: JSON.stringify(body)});
  const data = await answer.json();
  return [answer.status, Object.keys(data), data.room_name];
}"""


def test_livekits_library_joins_from_a_page_of_another_origin(
    browser: Browser,
    page_url: str,
    make_service: Callable[[Mapping[str, str]], Service],
    environment: dict[str, str],
) -> None:
    """In Chromium, with a key for that page: the library asks and joins; the starter's request is served."""
    site = {
        "api_key_hash": hash_api_key(SITE_KEY),
        "api_key_prefix": SITE_KEY[:12],
        "user_email": OWNER,
        "allowed_assistants": ["helper"],
        "allowed_origins": [page_url],
        "allowed_metadata": ["customer"],
    }
    keys = [*json.loads(environment["WEBCALL_API_KEYS"]), site]
    service = make_service(environment | {"WEBCALL_API_KEYS": json.dumps(keys)})
    url = service.url + PATH
    page = browser.new_page()
    page.goto(page_url)
    options = {
        "agentName": "helper",
        "agentMetadata": '{"customer": {"name": "Jo"}}',
        "participantName": "Jo",
    }
    for headers in (bearer(SITE_KEY), {"X-Sandbox-Id": SITE_KEY}, bearer(KEY)):
        name, person = page.evaluate(JOIN, [url, headers, options])
        assert name.startswith("helper_")
        assert person == "Jo"
    for body in ({}, {"room_config": {"agents": [{"agent_name": "helper"}]}}):
        status, fields, room = page.evaluate(STARTER, [url, SITE_KEY, body])
        assert status == 201
        assert fields == ["server_url", "participant_token", "room_name", "participant_name"]
        assert room.startswith("helper_")
