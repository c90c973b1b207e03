"""The page, the OpenAPI document, the example server and the backend agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from tests.support.company import EXAMPLE, SECRET, ExampleServer
from tests.support.deployment import (
    API_KEYS,
    ASSISTANTS,
    ROOT,
    Service,
    bearer,
    livekit_environment,
)
from tests.support.http import JSON, send
from tests.support.livekit import LiveKitServer
from webcall.record_schemas import AssistantSchema, KeySchema

DOCUMENT = yaml.safe_load((ROOT / "docs" / "http-backend.openapi.yaml").read_text("utf-8"))


def test_the_document_is_openapi() -> None:
    """It follows OpenAPI 3.1, and its records have the fields that the service reads."""
    validate(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Key"]["properties"].keys() == KeySchema().fields.keys() - {"api_key"}
    assert schemas["Assistant"]["properties"].keys() == AssistantSchema().fields.keys()


def test_the_samples_are_in_the_documents_form() -> None:
    """Records that the service takes from other backends are good answers of this one."""
    schemas = DOCUMENT["components"]["schemas"]

    def check(name: str, record: Any) -> None:
        whole = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        Draft202012Validator(whole).validate(record)

    for record in API_KEYS:
        if "api_key" not in record:
            check("Key", record)
    for record in ASSISTANTS:
        check("Assistant", record)
    assert schemas


def test_the_example_is_short() -> None:
    """It is forty lines and a docstring, as the page says."""
    lines = [line for line in EXAMPLE.read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) <= 41


@pytest.fixture
def company(tmp_path: Path) -> Iterator[ExampleServer]:
    """The example server with the sample records."""
    keys = {record["api_key_hash"]: record for record in API_KEYS if "api_key_hash" in record}
    assistants = {record["assistant_id"]: record for record in ASSISTANTS}
    server = ExampleServer(tmp_path, {"keys": keys, "assistants": assistants})
    server.start()
    yield server
    server.stop()


def test_a_call_through_the_example(
    company: ExampleServer, make_service: Callable[..., Service], livekit_server: LiveKitServer
) -> None:
    """A real service with the example behind it places a call; without it, kept answers serve, then a 500."""
    service = make_service(
        {
            **livekit_environment(livekit_server),
            "WEBCALL_VALIDATORS": "http",
            "WEBCALL_STORES": "http",
            "WEBCALL_HTTP_URL": company.url,
            "WEBCALL_HTTP_SECRET": SECRET,
        }
    )
    body = {"assistant_id": "helper"}
    assert send(service.port, body, JSON | bearer()).status == 200
    assert send(service.port, body, JSON | bearer("lvk_unknown")).status == 401
    company.stop()
    assert send(service.port, body, JSON | bearer()).status == 200
    assert send(service.port, body, JSON | bearer("lvk_another")).status == 500
