"""Request bodies: JSON as the contract has it, and nothing else."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.deployment import bearer
from webcall.http.body import NotJSON, parse_strict

PATH = "/web_call/get_token"


def nested(levels: int) -> dict[str, Any]:
    """Return an object `levels` levels deep, itself the first."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 400 + b"}",
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        json.dumps({"a": 1}).encode("utf-16"),
        b"[" * 60_000,
        b'{"a":' * 20_000,
        b"{} {}",
        b"{'a': 1}",
        b'{"a": 01}',
        b'{"a": 1,}',
    ],
)
def test_what_is_refused(body: bytes) -> None:
    """What is not strict JSON is refused with words, which quote nothing of it."""
    with pytest.raises(NotJSON):
        parse_strict(body)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "\\u0000"}',
        '{"a": "\\ud83d\\ude00"}',
        '{"a": 1e-999}',
        '{"a": 1' + "0" * 307 + "}",
        '{"a": -0.0}',
    ],
)
def test_what_passes(text: str) -> None:
    """A NUL in a value, a whole surrogate pair and tiny numbers are JSON."""
    assert parse_strict(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ("text", "body"),
        (None, "body"),
        ({}, "assistant_id"),
        ({"assistant_id": None}, "assistant_id"),
        ({"assistant_id": 5}, "assistant_id"),
        ({"assistant_id": ""}, "assistant_id"),
        ({"assistant_id": "   "}, "assistant_id"),
        ({"assistant_id": "x" * 101}, "assistant_id"),
        ({"assistant_id": "😀" * 61}, "assistant_id"),
        ({"assistant_id": "helper", "metdata": {}}, "metdata"),
        ({"assistant_id": "helper", "metadata": []}, "metadata"),
        ({"assistant_id": "helper", "metadata": "text"}, "metadata"),
        ({"assistant_id": "helper", "metadata": {"x": "y" * 16_384}}, "metadata"),
        ({"assistant_id": "helper", "metadata": nested(17)}, "metadata"),
        ({"assistant_id": "helper", "metadata": {"x": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}}, "metadata"),
        ({"assistant_id": "helper", "text_only": "false"}, "text_only"),
        ({"assistant_id": "helper", "text_only": 1}, "text_only"),
        ({"assistant_id": "helper", "text_only": None}, "text_only"),
    ],
)
def test_faults_are_listed_by_field(app: Flask, body: Any, field: str) -> None:
    """A 422 names the field, with a list of messages."""
    answer = app.test_client().post(
        PATH, data=json.dumps(body), headers=bearer(), content_type="application/json"
    )
    assert answer.status_code == 422
    assert answer.json is not None
    errors = answer.json["data"]["errors"]
    assert list(errors) == [field]
    assert all(isinstance(message, str) for message in errors[field])


def test_a_field_called_json_hides_no_other(app: Flask) -> None:
    """The parser calls the body `json` in its own faults; a field of that name is one among others."""
    answer = app.test_client().post(PATH, json={"json": 1, "wrong": 2}, headers=bearer())
    assert answer.json is not None
    assert set(answer.json["data"]["errors"]) == {"json", "wrong", "assistant_id"}


def test_several_faults_are_told_at_once(app: Flask) -> None:
    """Each faulty field is listed, so that the caller fixes them in one go."""
    answer = app.test_client().post(PATH, json={"metdata": 1, "text_only": 0}, headers=bearer())
    assert answer.json is not None
    assert set(answer.json["data"]["errors"]) == {"assistant_id", "metdata", "text_only"}


@pytest.mark.parametrize(
    "metadata",
    [
        {"x": "y" * (16_384 - len('{"x":""}'))},
        {"x": "é" * ((16_384 - len('{"x":""}')) // 2)},
        nested(16),
        {},
        {"": 1, "a.b": 2},
    ],
)
def test_metadata_up_to_its_limits(app: Flask, metadata: dict[str, Any]) -> None:
    """16 KiB of compact UTF-8 JSON and 16 levels are taken."""
    body = {"assistant_id": "other", "metadata": metadata}
    assert app.test_client().post(PATH, json=body, headers=bearer()).status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "identity", "utf-8"])
def test_a_compressed_body_is_told_as_such(app: Flask, coding: str) -> None:
    """Where a body cannot be read for its coding, that is the fault; where it can, the header is none."""
    client, headers = app.test_client(), bearer() | {"Content-Encoding": coding}
    body = json.dumps({"assistant_id": "helper"}).encode()
    kind = "application/json"
    assert client.post(PATH, data=body, headers=headers, content_type=kind).status_code == 200
    answer = client.post(PATH, data=gzip.compress(body), headers=headers, content_type=kind)
    assert answer.status_code == 422
    assert answer.json is not None
    assert list(answer.json["data"]["errors"]) == ["body" if coding == "identity" else "Content-Encoding"]


def test_metadata_that_swells_a_prompt(app: Flask, tmp_path: Any) -> None:
    """A section that a long list repeats past 64 KiB is the caller's 422, about metadata."""
    path = tmp_path / "assistants.json"
    records = json.loads(path.read_text())
    records[0]["assistant_prompt"] = "{{#list}}" + "x" * 70 + "{{/list}}"
    path.write_text(json.dumps(records))
    body = {"assistant_id": "helper", "metadata": {"list": [1] * 8000}}
    answer = app.test_client().post(PATH, json=body, headers=bearer())
    assert answer.status_code == 422
    assert answer.json is not None
    assert list(answer.json["data"]["errors"]) == ["metadata"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
BODIES = (
    st.binary()
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"assistant_id": JSON_VALUES}, optional={"metadata": JSON_VALUES, "text_only": JSON_VALUES}
    ).map(lambda value: json.dumps(value).encode())
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(body=BODIES)
def test_a_bad_body_never_gets_a_5xx(app: Flask, body: bytes) -> None:
    """Whatever the bytes are, a body is the caller's matter."""
    answer = app.test_client().post(PATH, data=body, headers=bearer(), content_type="application/json")
    assert answer.status_code in (200, 404, 422)
