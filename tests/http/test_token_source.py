"""`POST /web_call/token_source` on the real LiveKit server: a call as LiveKit's client SDKs ask for it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from tests.http.test_get_token import read_back
from tests.support.deployment import (
    APP_KEY,
    KEY,
    LISTED_KEY,
    OWNER,
    PAGE,
    PAGE_KEY,
    MakeApp,
    bearer,
    livekit_environment,
    store_records,
)
from tests.support.livekit import LiveKitServer
from webcall.http.body import by_path
from webcall.http.token_source_schemas import TokenSourceRequest
from webcall.records import hash_api_key

PATH = "/web_call/token_source"
METADATA = "room_config.agents.0.metadata"
FIELDS = ["server_url", "participant_token", "room_name", "participant_name"]


def agent(name: str | None = "helper", **more: Any) -> dict[str, Any]:
    """Return the part of a body that names the assistant."""
    named = {} if name is None else {"agent_name": name}
    return {"room_config": {"agents": [named | more]}}


def claims(data: dict[str, Any]) -> dict[str, Any]:
    return dict(jwt.decode(data["participant_token"], options={"verify_signature": False}))


def call(client: FlaskClient, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Place a call that has to succeed; return the answer's body."""
    answer = client.post(PATH, json=body, headers=headers or bearer())
    assert answer.status_code == 201, answer.text
    assert answer.json is not None
    assert list(answer.json) == FIELDS
    assert answer.headers["Cache-Control"] == "no-store"
    return dict(answer.json)


def faults(client: FlaskClient, body: Any, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Send what has to be refused with 422; return the faults by field."""
    answer = client.post(PATH, json=body, headers=headers or bearer())
    assert answer.status_code == 422, answer.text
    assert answer.json is not None
    assert list(answer.json) == ["success", "message", "data"]
    found: dict[str, Any] = answer.json["data"]["errors"]
    assert all(isinstance(told, str) for messages in found.values() for told in messages)
    return found


def test_the_call_is_that_of_get_token(client: FlaskClient, livekit_server: LiveKitServer) -> None:
    """One room with one dispatch, filled in; the token has the person's name, metadata and attributes."""
    body = agent(metadata=json.dumps({"customer": {"name": "Jo"}})) | {
        "participant_name": "Jo",
        "participant_metadata": "a guest",
        "participant_attributes": {"colour": "blue"},
    }
    data = call(client, body)
    assert (data["server_url"], data["participant_name"]) == (livekit_server.url, "Jo")
    room, [dispatch] = read_back(livekit_server, data["room_name"])
    assert (room.max_participants, room.empty_timeout) == (1, 120)
    assert set(json.loads(room.metadata)) == {"nonce"}
    received = json.loads(dispatch.metadata)
    assert received["customer"] == {"name": "Jo"}
    assert received["text_only"] is False
    assert received["web_call"]["assistant"]["assistant_prompt"] == "You talk with Jo from somewhere."
    found = claims(data)
    assert (found["name"], found["metadata"]) == ("Jo", "a guest")
    assert found["attributes"] == {"colour": "blue"}
    assert set(found["video"]) == {
        *("roomJoin", "room", "canPublish", "canSubscribe", "canPublishData", "canPublishSources")
    }
    assert set(found) == {"video", "iss", "sub", "nbf", "exp", "name", "metadata", "attributes"}


@pytest.mark.parametrize(("window", "lifetime"), [(3600, 60), (60, 60), (20, 20)])
def test_a_token_lives_no_longer_than_a_minute(
    make_app: MakeApp,
    livekit_server: LiveKitServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    window: int,
    lifetime: int,
) -> None:
    """Whatever join_window_s is: an SDK would use a longer one again for a room that is gone."""
    environment = livekit_environment(livekit_server) | store_records("env", tmp_path, request)
    client = make_app(environment, call={"join_window_s": window}).test_client()
    data = call(client, agent())
    ends_in = claims(data)["exp"] - datetime.now(UTC).timestamp()
    assert lifetime - 5 < ends_in <= lifetime
    room, _ = read_back(livekit_server, data["room_name"])
    assert room.empty_timeout == lifetime + 60
    answer = client.post("/web_call/get_token", json={"assistant_id": "helper"}, headers=bearer())
    assert answer.json is not None
    room, _ = read_back(livekit_server, answer.json["data"]["room_name"])
    assert room.empty_timeout == window + 60


def test_the_sandbox_header_carries_a_publishable_key(client: FlaskClient) -> None:
    """As LiveKit's React starter sends it: no Authorization, the key as X-Sandbox-Id, {} or a room_config."""
    headers = {"X-Sandbox-Id": PAGE_KEY, "Origin": PAGE}
    for body in ({}, {"room_config": None}, {"room_config": {}}, agent(), agent(None)):
        assert call(client, body, headers)["room_name"].startswith("helper_")
    assert call(client, {}, {"X-Sandbox-ID": APP_KEY})["participant_name"] == ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Sandbox-Id": ""},
        {"X-Sandbox-Id": KEY},
        {"X-Sandbox-Id": APP_KEY + "x"},
        {"X-Sandbox-Id": f"Bearer {APP_KEY}"},
        {"X-Sandbox-Id": f"{APP_KEY}, {APP_KEY}"},
        {"X-Sandbox-Id": APP_KEY, "Authorization": "Bearer lvk_unknown"},
        {"X-Sandbox-Id": APP_KEY, "Authorization": ""},
        {"X-Sandbox-Id": "\u00ff"},
    ],
)
def test_what_the_sandbox_header_does_not_do(client: FlaskClient, headers: dict[str, str]) -> None:
    """A secret key in it, a faulty one, or one beside an Authorization that is not good: 401."""
    answer = client.post(PATH, json={}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_the_sandbox_header_is_for_this_address_alone(client: FlaskClient) -> None:
    """Elsewhere the header is nothing; a page's key is bound to its origin here, too."""
    body = {"assistant_id": "helper"}
    assert client.post("/web_call/get_token", json=body, headers={"X-Sandbox-Id": APP_KEY}).status_code == 401
    elsewhere = {"X-Sandbox-Id": PAGE_KEY, "Origin": "https://evil.example"}
    assert client.post(PATH, json={}, headers=elsewhere).status_code == 403


def test_which_assistant_is_meant_without_a_name(
    make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The key's only one, by its list or as its owner has no other; of several, 422 says how to choose."""
    several = "lvk_several_" + "s" * 35
    alone = "lvk_alone_" + "a" * 37
    nobody = "lvk_nobody_" + "n" * 36
    environment = livekit_environment(livekit_server) | store_records("env", tmp_path, request)
    environment["WEBCALL_API_KEYS"] = json.dumps(
        [
            {"api_key_hash": hash_api_key(KEY), "user_email": OWNER},
            {"api_key_hash": hash_api_key(LISTED_KEY), "user_email": OWNER, "allowed_assistants": ["other"]},
            {
                "api_key_hash": hash_api_key(several),
                "user_email": OWNER,
                "allowed_assistants": ["other", "helper"],
            },
            {"api_key_hash": hash_api_key(alone), "user_email": "eve@example.com"},
            {"api_key_hash": hash_api_key(nobody), "user_email": "nobody@example.com"},
        ]
    )
    client = make_app(environment).test_client()
    assert call(client, {}, bearer(LISTED_KEY))["room_name"].startswith("other_")
    assert call(client, {}, bearer(alone))["room_name"].startswith("foreign_")
    for key, words in ((KEY, "several"), (several, "several"), (nobody, "no assistant")):
        [(name, [told])] = faults(client, {}, bearer(key)).items()
        assert name == "room_config.agents.0.agent_name"
        assert words in told
        assert "room_config.agents[0].agent_name" in told


REFUSED = [
    ({"room_name": "mine"}, "room_name"),
    ({"participant_identity": "me"}, "participant_identity"),
    *(
        ({"room_config": {name: value}}, f"room_config.{name}")
        for name, value in {
            "name": "mine",
            "empty_timeout": 9999,
            "departure_timeout": 1,
            "max_participants": 100,
            "metadata": "x",
            "egress": {"room": {}},
            "min_playout_delay": 1,
            "max_playout_delay": 1,
            "sync_streams": True,
            "tags": {"a": "b"},
        }.items()
    ),
    (agent(restart_policy="JRP_NEVER"), "room_config.agents.0.restart_policy"),
    # What says nothing says it in the field's own type; found by Schemathesis.
    ({"participant_identity": {}}, "participant_identity"),
    ({"room_name": False}, "room_name"),
    ({"room_config": {"sync_streams": 0}}, "room_config.sync_streams"),
    ({"room_config": {"empty_timeout": False}}, "room_config.empty_timeout"),
    ({"room_config": {"tags": []}}, "room_config.tags"),
    (agent(deployment="staging"), "room_config.agents.0.deployment"),
    (agent(attributes={"a": "b"}), "room_config.agents.0.attributes"),
    ({"text_only": True}, "text_only"),
    ({"room_config": {"agent": []}}, "room_config.agent"),
    (agent(agentName="helper"), "room_config.agents.0.agentName"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=[field for _, field in REFUSED])
def test_fields_that_are_refused(client: FlaskClient, body: dict[str, Any], field: str) -> None:
    """What would name a room or an identity, or set a room up, and what is unknown: 422, by its path."""
    [(name, [told])] = faults(client, body).items()
    assert name == field
    assert "Leave it out" in told or "Unknown field" in told


def test_what_says_nothing_is_not_refused(client: FlaskClient) -> None:
    """An SDK that writes every field, unset ones as null or as protobuf's defaults, is served."""
    for nothing in (None, "default"):
        refused = {
            "name": "",
            **dict.fromkeys(("empty_timeout", "departure_timeout", "max_participants"), 0),
            "metadata": "",
            "egress": {},
            **dict.fromkeys(("min_playout_delay", "max_playout_delay"), 0),
            "sync_streams": False,
            "tags": {},
        }
        dispatch = {"metadata": "", "restart_policy": "JRP_ON_FAILURE", "deployment": "", "attributes": {}}
        person = {
            "room_name": "",
            "participant_identity": "",
            "participant_name": "",
            "participant_metadata": "",
            "participant_attributes": {},
        }
        if nothing is None:
            refused, dispatch, person = (dict.fromkeys(one) for one in (refused, dispatch, person))
        body = person | {"room_config": refused | {"agents": [dispatch | {"agent_name": "helper"}]}}
        assert call(client, body)["participant_name"] == ""


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (agent(metadata="{"), METADATA),
        (agent(metadata="[]"), METADATA),
        (agent(metadata="null"), METADATA),
        (agent(metadata='"text"'), METADATA),
        (agent(metadata='{"a": NaN}'), METADATA),
        (agent(metadata='{"a": 1, "a": 2}'), METADATA),
        (agent(metadata='{"a": "\\ud800"}'), METADATA),
        (agent(metadata='{"a":' * 17 + "1" + "}" * 17), METADATA),
        (agent(metadata='{"a": "' + "x" * 16384 + '"}'), METADATA),
        (agent(metadata="[" * 20000), METADATA),
        (agent(metadata={"a": 1}), METADATA),
        (agent("x" * 101), "room_config.agents.0.agent_name"),
        (agent(1), "room_config.agents.0.agent_name"),  # type: ignore[arg-type]
        ({"room_config": {"agents": [{}, {}]}}, "room_config.agents"),
        ({"room_config": {"agents": {}}}, "room_config.agents"),
        ({"room_config": {"agents": ["helper"]}}, "room_config.agents.0"),
        ({"room_config": {"agents": [None]}}, "room_config.agents.0"),
        ({"room_config": []}, "room_config"),
        ({"participant_name": 1}, "participant_name"),
        ({"participant_name": "ü" * 129}, "participant_name"),
        ({"participant_metadata": {}}, "participant_metadata"),
        ({"participant_metadata": "x" * 4097}, "participant_metadata"),
        ({"participant_metadata": "ü" * 2000, "participant_name": "n" * 97}, "participant_metadata"),
        ({"participant_attributes": []}, "participant_attributes"),
        ({"participant_attributes": {"a": 1}}, "participant_attributes"),
        ({"participant_attributes": {"a": None}}, "participant_attributes"),
        ({"participant_attributes": {"lk.agent.state": "x"}}, "participant_attributes"),
        ({"participant_attributes": {"a" * 2000: "b" * 2097}}, "participant_attributes"),
    ],
)
def test_bad_input_is_told_by_its_path(client: FlaskClient, body: dict[str, Any], field: str) -> None:
    """Each fault is a 422 under the path of its field, with get_token's limits and this form's own."""
    assert list(faults(client, body)) == [field]


@pytest.mark.parametrize("wrong", [[], "helper", 1, True])
def test_what_has_to_be_an_object_is_told(client: FlaskClient, wrong: Any) -> None:
    """In this service's words, which say what is expected, at each depth."""
    told = ["Not a JSON object."]
    assert faults(client, {"room_config": wrong}) == {"room_config": told}
    for item in (wrong, None):
        assert faults(client, {"room_config": {"agents": [item]}}) == {"room_config.agents.0": told}


def test_the_largest_of_everything_is_taken(client: FlaskClient) -> None:
    """16 KiB of metadata, 256 bytes of a name, and 4 KiB of what goes into the token."""
    metadata = json.dumps({"a": "x" * (16384 - len('{"a":""}'))})
    body = agent(metadata=metadata) | {
        "participant_name": "ü" * 128,
        "participant_metadata": "m" * 3000,
        "participant_attributes": {"a" * 40: "b" * 800},
    }
    assert claims(call(client, body))["metadata"] == "m" * 3000
    body["participant_attributes"]["c"] = ""
    assert list(faults(client, body)) == ["participant_metadata"]


def test_metadata_of_names_that_the_key_does_not_allow(client: FlaskClient) -> None:
    """What a page may not send is a 422 under this form's own path, not under get_token's."""
    headers = {"X-Sandbox-Id": PAGE_KEY, "Origin": PAGE}
    assert list(faults(client, agent(metadata='{"plan": "gold"}'), headers)) == [METADATA]
    call(client, agent(metadata='{"customer": {"name": "Jo"}}'), headers)


def test_an_unknown_assistant_is_unknown(client: FlaskClient) -> None:
    """404 in the envelope, as from get_token."""
    answer = client.post(PATH, json=agent("nobody"), headers=bearer())
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["success"] is False


def test_a_repeat_gets_the_same_call(client: FlaskClient) -> None:
    """With an Idempotency-Key: the same room and identity; another name of the person is another body."""
    headers = bearer() | {"Idempotency-Key": str(uuid.uuid4())}
    first, second = (call(client, agent() | {"participant_name": "Jo"}, headers) for _ in range(2))
    assert first["room_name"] == second["room_name"]
    assert claims(first)["sub"] == claims(second)["sub"]
    assert claims(second)["name"] == "Jo"
    assert list(faults(client, agent() | {"participant_name": "Al"}, headers)) == ["Idempotency-Key"]


NAMES = st.sampled_from(
    [
        *("room_config", "agents", "metadata", "agent_name", "participant_name", "tags", "room_name"),
        *("participant_attributes", "participant_metadata", "egress", "_schema", "0"),
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "{", '{"a":1}', "lk."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(body=st.dictionaries(NAMES, ANYTHING, max_size=4))
def test_no_body_breaks_it(body: dict[str, Any]) -> None:
    """Whatever stands in the fields: a call, or faults that are text by the path of a field."""
    try:
        found = TokenSourceRequest().load(body)
    except ValidationError as error:
        for path, told in by_path(error.messages_dict):
            assert isinstance(path, str)
            assert all(isinstance(one, str) for one in told)
    else:
        assert found.body == body
        assert isinstance(found.metadata, dict)
