"""The OpenAPI document describes what the running service does."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import jsonschema
import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate

from tests.support.deployment import (
    KEY,
    LISTED_KEY,
    PAGE_KEY,
    MakeApp,
    bearer,
    livekit_environment,
    store_records,
)
from tests.support.http import CALL
from webcall.errors import BackendError, Busy, LiveKitError

LISTING = "/web_call/assistants"
TOKEN_SOURCE = "/web_call/token_source"
# livekit.TokenSourceRequest of LiveKit's protocol, as tests/frontend holds it to LiveKit's own library.
FIELDS = {
    "TokenSourceRequest": {
        *("room_name", "participant_name", "participant_identity", "participant_metadata"),
        *("participant_attributes", "room_config"),
    },
    "RoomConfiguration": {
        *("name", "empty_timeout", "departure_timeout", "max_participants", "metadata", "egress"),
        *("min_playout_delay", "max_playout_delay", "sync_streams", "agents", "tags"),
    },
    "AgentDispatch": {"agent_name", "metadata", "restart_policy", "deployment", "attributes"},
}
TAKEN = {"participant_name", "participant_metadata", "participant_attributes", "room_config", "agents"}


def document(client: FlaskClient) -> dict[str, Any]:
    """Return the document as the service gives it."""
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = json.loads(answer.text)
    return found


def validate_value(value: Any, schema: dict[str, Any]) -> None:
    """Fail unless a value is valid by a schema in OpenAPI 3.0's dialect, which has `nullable`."""
    jsonschema.validate(value, schema, cls=OAS30Validator)


def schema_of(whole: dict[str, Any], path: str, method: str, status: int) -> dict[str, Any]:
    """Return the schema of an answer, with the document's definitions beside it."""
    content = whole["paths"][path][method]["responses"][str(status)]["content"]["application/json"]
    return {**content["schema"], "components": whole["components"]}


def test_the_document_is_valid(client: FlaskClient) -> None:
    """It is OpenAPI 3, and names every route with the statuses of the contract."""
    whole = document(client)
    validate(whole)
    assert set(whole["paths"]) == {CALL, TOKEN_SOURCE, LISTING, "/health", "/ready"}
    responses = whole["paths"][CALL]["post"]["responses"]
    assert set(responses) == {"200", "400", "401", "403", "404", "413", "422", "429", "500", "503"}
    assert whole["paths"][CALL]["post"]["security"] == [{"api_key": []}]
    source = whole["paths"][TOKEN_SOURCE]["post"]
    assert set(source["responses"]) == {"201", *("401", "403", "404", "413", "422", "429", "500", "503")}
    assert source["security"] == [{"api_key": []}, {"sandbox_id": []}]
    for operation in (whole["paths"][CALL]["post"], source):
        [header] = operation["parameters"]
        assert (header["name"], header["in"], header["required"]) == ("Idempotency-Key", "header", False)
    listing = whole["paths"][LISTING]["get"]
    assert set(listing["responses"]) == {"200", "401", "403", "422", "429", "500", "503"}
    assert listing["security"] == [{"api_key": []}]
    assert {one["name"]: one["required"] for one in listing["parameters"]} == {
        "limit": False,
        "after": False,
    }
    assert whole["components"]["securitySchemes"]["api_key"]["scheme"] == "bearer"


def test_every_example_fits_its_schema(client: FlaskClient) -> None:
    """Each status has an example, and each example, the request's too, is valid by its schema."""
    whole = document(client)
    checked = 0
    for path, operations in whole["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                example = response["content"]["application/json"]["example"]
                validate_value(example, schema_of(whole, path, method, int(status)))
                checked += 1
    for path in (CALL, TOKEN_SOURCE):
        body = whole["paths"][path]["post"]["requestBody"]
        assert body["required"] is True
        content = body["content"]["application/json"]
        validate_value(content["example"], {**content["schema"], "components": whole["components"]})
    assert checked == 29


def test_every_field_of_livekits_schema_is_named(client: FlaskClient) -> None:
    """The document says of each field of LiveKit's request what it does here, or that it is refused."""
    schemas = document(client)["components"]["schemas"]
    for name, expected in FIELDS.items():
        fields = schemas[name]["properties"]
        assert set(fields) == expected
        for field, told in fields.items():
            taken = field in (("agent_name", "metadata") if name == "AgentDispatch" else TAKEN)
            assert told["description"].startswith("Refused. ") is not taken, field


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ({}, True),
        ({"room_config": None}, True),
        ({"room_config": {"tags": {}, "name": "", "empty_timeout": 0, "sync_streams": False}}, True),
        ({"room_config": {"agents": [{"agent_name": None, "restart_policy": "JRP_ON_FAILURE"}]}}, True),
        ({"room_config": {"color": "red"}}, False),
        ({"room_config": {"name": "mine"}}, False),
        ({"room_config": {"empty_timeout": 5}}, False),
        ({"participant_identity": {}}, False),
        ({"participant_name": "x" * 257}, False),
    ],
)
def test_a_client_can_tell_a_good_token_source_by_the_document(
    client: FlaskClient, body: dict[str, Any], good: bool
) -> None:
    """What the document's schema of LiveKit's request takes and refuses is what the service does."""
    whole = document(client)
    schema = whole["paths"][TOKEN_SOURCE]["post"]["requestBody"]["content"]["application/json"]["schema"]
    faults = list(OAS30Validator({**schema, "components": whole["components"]}).iter_errors(body))
    assert (not faults) is good
    answer = client.post(TOKEN_SOURCE, json=body, headers=bearer(LISTED_KEY))
    assert answer.status_code == (201 if good else 422)


@pytest.mark.parametrize(
    ("header", "good"), [("a", True), ("a b", True), (str(uuid.uuid4()), True), ("a\tb", False), ("", False)]
)
def test_the_document_says_what_an_idempotency_key_may_hold(
    client: FlaskClient, header: str, good: bool
) -> None:
    """The header's pattern lets through what the service takes."""
    [parameter] = document(client)["paths"][CALL]["post"]["parameters"]
    assert bool(re.search(parameter["schema"]["pattern"], header)) is good
    answer = client.post(
        CALL, json={"assistant_id": "helper"}, headers=bearer() | {"Idempotency-Key": header}
    )
    assert answer.status_code == (200 if good else 422)


@pytest.mark.parametrize(
    ("status", "body", "key"),
    [
        (201, {"room_config": {"agents": [{"agent_name": "helper"}]}}, KEY),
        (401, {}, "lvk_unknown"),
        (404, {"room_config": {"agents": [{"agent_name": "nobody"}]}}, KEY),
        (413, {"participant_name": "x" * 70_000}, KEY),
        (422, {"room_name": "mine"}, KEY),
        (500, {"room_config": {"agents": [{"agent_name": "broken"}]}}, KEY),
    ],
)
def test_real_token_sources_fit_the_document(
    client: FlaskClient, status: int, body: dict[str, Any], key: str
) -> None:
    """What LiveKit's SDKs are really answered is valid by the document, the 422 exactly as its example."""
    whole = document(client)
    answer = client.post(TOKEN_SOURCE, json=body, headers=bearer(key))
    assert answer.status_code == status
    validate_value(answer.json, schema_of(whole, TOKEN_SOURCE, "post", status))
    response = whole["paths"][TOKEN_SOURCE]["post"]["responses"][str(status)]
    if status == 422:
        assert answer.json == response["content"]["application/json"]["example"]
    for header in response.get("headers", {}):
        assert header in answer.headers


@pytest.mark.parametrize(
    ("status", "body", "key"),
    [
        (200, {"assistant_id": "helper"}, KEY),
        (400, {"assistant_id": "speaker", "text_only": True}, KEY),
        (401, {}, "lvk_unknown"),
        (403, {"assistant_id": "helper"}, PAGE_KEY),
        (404, {"assistant_id": "nobody"}, KEY),
        (413, {"assistant_id": "x" * 70_000}, KEY),
        (422, {"assistant_id": "helper", "metdata": {}}, KEY),
        (500, {"assistant_id": "broken"}, KEY),
        (503, {"assistant_id": "helper"}, KEY),
    ],
)
def test_real_answers_fit_the_document(
    app: Flask, monkeypatch: pytest.MonkeyPatch, status: int, body: dict[str, Any], key: str
) -> None:
    """What the service really answers is valid by the document, with the documented headers."""
    client = app.test_client()
    whole = document(client)
    if status == 503:
        services = app.extensions["webcall"]

        def busy(*_: Any) -> None:
            raise Busy(1)

        monkeypatch.setattr(services.gate, "_take", busy)
    answer = client.post(CALL, json=body, headers=bearer(key))
    assert answer.status_code == status
    schema = schema_of(whole, CALL, "post", status)
    validate_value(answer.json, schema)
    assert answer.json is not None
    unknown = set(answer.json["data"]) - set(_data_fields(whole, schema))
    assert unknown == set()
    for header in whole["paths"][CALL]["post"]["responses"][str(status)].get("headers", {}):
        assert header in answer.headers


@pytest.mark.parametrize(
    ("status", "query", "key"),
    [
        (200, "?limit=2", KEY),
        (200, "?after=zzz", KEY),
        (401, "", "lvk_unknown"),
        (403, "", PAGE_KEY),
        (422, "?limit=201", KEY),
        (500, "", KEY),
        (503, "", KEY),
    ],
)
def test_real_listings_fit_the_document(
    app: Flask, monkeypatch: pytest.MonkeyPatch, status: int, query: str, key: str
) -> None:
    """What the listing really answers is valid by the document, with the documented headers."""
    client = app.test_client()
    whole = document(client)
    services = app.extensions["webcall"]
    raised = {500: (services.listing, "page", BackendError("down")), 503: (services.gate, "_take", Busy(1))}
    if status in raised:
        part, name, error = raised[status]

        def fail(*_: Any) -> None:
            raise error

        monkeypatch.setattr(part, name, fail)
    answer = client.get(LISTING + query, headers=bearer(key))
    assert answer.status_code == status
    schema = schema_of(whole, LISTING, "get", status)
    validate_value(answer.json, schema)
    assert answer.json is not None
    assert set(answer.json["data"]) <= set(_data_fields(whole, schema))
    if status == 422:
        example = whole["paths"][LISTING]["get"]["responses"]["422"]["content"]["application/json"]["example"]
        assert answer.json == example
    for header in whole["paths"][LISTING]["get"]["responses"][str(status)].get("headers", {}):
        assert header in answer.headers


def _data_fields(whole: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    def resolve(part: dict[str, Any]) -> dict[str, Any]:
        name = part["$ref"].rpartition("/")[2]
        found: dict[str, Any] = whole["components"]["schemas"][name]
        return found

    data = resolve(resolve(schema)["properties"]["data"])
    fields: dict[str, Any] = data.get("properties", {})
    return fields


def test_ready_fits_the_document(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready and not ready are both as documented."""
    client = app.test_client()
    whole = document(client)
    ready = client.get("/ready")
    assert ready.status_code == 200
    validate_value(ready.json, schema_of(whole, "/ready", "get", 200))
    services = app.extensions["webcall"]
    readiness = services.readiness

    def down() -> None:
        raise LiveKitError("timeout", "no answer")

    monkeypatch.setattr(readiness._asked[0], "_ping", down)
    readiness._kept = None
    not_ready = client.get("/ready")
    assert not_ready.status_code == 503
    assert not_ready.json is not None
    assert not_ready.json["data"] == {"down": ["livekit"], "degraded": []}
    validate_value(not_ready.json, schema_of(whole, "/ready", "get", 503))
    assert list(whole["paths"]["/ready"]["get"]["responses"]["503"]["headers"]) == ["Retry-After"]
    assert int(not_ready.headers["Retry-After"]) >= 1


def test_not_ready_for_too_many_calls(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without a free place is not ready, and says so in the documented form."""

    def busy(*_: Any) -> None:
        raise Busy(1)

    client = app.test_client()
    monkeypatch.setattr(app.extensions["webcall"].gate, "_take", busy)
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json is not None
    assert answer.json["data"] == {"down": [], "degraded": []}
    validate_value(answer.json, schema_of(document(client), "/ready", "get", 503))


def test_the_page_and_its_files_come_from_here(client: FlaskClient) -> None:
    """GET /docs is a page with a strict policy, whose files are served from here, hashed and cached."""
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert page.headers["Cache-Control"] == "no-store"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "//" not in page.text.replace("<!doctype", ""), "nothing is loaded from another host"
    files = [part.split('"')[0] for part in page.text.replace('src="', 'href="').split('href="')[1:]]
    assert files.pop(0) == "data:,", "no icon is asked for"
    assert len(files) == 3
    for path in files:
        file = client.get(path)
        assert file.status_code == 200
        assert "immutable" in file.headers["Cache-Control"]
        assert len(file.data) > 100
    assert client.get("/docs/passwd").status_code == 404


def test_docs_can_be_switched_off(
    make_app: MakeApp, livekit_server: Any, tmp_path: Any, request: pytest.FixtureRequest
) -> None:
    """With http.docs false neither the page nor the document is there."""
    environment = livekit_environment(livekit_server) | store_records("env", tmp_path, request)
    client = make_app(environment, http={"docs": False}).test_client()
    assert client.get("/docs").status_code == 404
    assert client.get("/openapi.json").status_code == 404
