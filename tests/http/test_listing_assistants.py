"""`GET /web_call/assistants`: what a key may call, over HTTP, with each backend."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support import deployment
from tests.support.deployment import BACKENDS, LISTED_KEY, OWNER, MakeApp, bearer, store_records
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL
from webcall.records import hash_api_key

PATH = "/web_call/assistants"
MANY_KEY, NARROW_KEY = "lvk_many_" + "m" * 38, "lvk_narrow_" + "n" * 36
MANY = "many@example.com"


@pytest.fixture(params=BACKENDS)
def app(
    request: pytest.FixtureRequest,
    make_app: MakeApp,
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Flask:
    """The sample deployment in one backend, and an owner with many assistants, some inactive."""
    many = [
        {
            "assistant_id": f"{letter}{number}",
            "assistant_created_by_email": MANY,
            "assistant_is_active": number != 1,
        }
        for letter in string.ascii_letters
        for number in range(3)
    ]
    keys = [
        {"api_key_hash": hash_api_key(MANY_KEY), "user_email": MANY},
        {
            "api_key_hash": hash_api_key(NARROW_KEY),
            "user_email": MANY,
            "allowed_assistants": ["b0", "b1", "A2", "nobody", "helper"],
        },
    ]
    monkeypatch.setattr(deployment, "ASSISTANTS", [*deployment.ASSISTANTS, *many])
    monkeypatch.setattr(deployment, "API_KEYS", [*deployment.API_KEYS, *keys])
    # A page an assistant is more requests than a key has in a minute.
    limits = {"WEBCALL_LIMIT_PER_KEY": "off"}
    return make_app(fake_livekit.environment | limits | store_records(request.param, tmp_path, request))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Requests to it."""
    return app.test_client()


def listed(client: FlaskClient, key: str, limit: int) -> list[str]:
    """Return the ids on all pages."""
    ids: list[str] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        answer = client.get(PATH, query_string=query, headers=bearer(key))
        assert answer.status_code == 200
        data = json.loads(answer.text)["data"]
        ids += [one["assistant_id"] for one in data["assistants"]]
        if data["next"] is None:
            return ids
        assert len(data["assistants"]) == limit
        query["after"] = data["next"]


def test_a_page_shows_four_fields(client: FlaskClient) -> None:
    """The owner's active assistants are sorted by id, with four fields and nothing of the inside."""
    answer = client.get(PATH, headers=bearer())
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json is not None
    assert (answer.json["success"], set(answer.json["data"])) == (True, {"assistants", "next"})
    assert answer.json["data"]["next"] is None
    shown = {one["assistant_id"]: one for one in answer.json["data"]["assistants"]}
    assert list(shown) == ["helper", "other", "speaker"]
    assert shown["helper"] == {
        "assistant_id": "helper",
        "assistant_name": "Helper",
        "assistant_description": "",
        "assistant_mode": "pipeline",
    }
    assert shown["speaker"]["assistant_mode"] == "realtime"


@pytest.mark.parametrize("key", [deployment.KEY, LISTED_KEY, MANY_KEY, NARROW_KEY])
def test_pages_are_what_get_token_takes(client: FlaskClient, key: str) -> None:
    """Over pages of any size the listing is the ids for which the same key gets a token."""
    good = []
    for record in deployment.ASSISTANTS:
        body = {"assistant_id": record["assistant_id"]}
        status = client.post(CALL, json=body, headers=bearer(key)).status_code
        if status == 200:
            good.append(record["assistant_id"])
    for limit in (1, 7, 200):
        assert listed(client, key, limit) == sorted(good)
    assert good


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.5", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=1&limit=2", "limit"),
        ("after=", "after"),
        ("after=" + "x" * 101, "after"),
        ("offset=3", "offset"),
    ],
)
@pytest.mark.parametrize("app", ["env"], indirect=True)
def test_a_bad_query_is_told_by_argument(client: FlaskClient, query: str, field: str) -> None:
    """What is wrong with a query is a 422 that names the argument, with words for it."""
    answer = client.get(f"{PATH}?{query}", headers=bearer())
    assert answer.status_code == 422
    assert answer.json is not None
    assert set(answer.json["data"]["errors"]) == {field}
    [words] = answer.json["data"]["errors"][field]
    assert words.endswith(".")
    assert client.get(f"{PATH}?{query}", headers=bearer("lvk_unknown")).status_code == 401


@pytest.mark.parametrize("app", ["env"], indirect=True)
def test_a_key_as_an_argument_is_blotted_out(client: FlaskClient) -> None:
    """A key that stands in the query is not given back."""
    answer = client.get(f"{PATH}?{deployment.KEY}=1", headers=bearer())
    assert answer.status_code == 422
    assert deployment.KEY not in answer.text


def test_an_outage_is_no_empty_list(
    make_app: MakeApp, fake_livekit: FakeLiveKit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Where any store is down the answer is a 500, whatever the others hold."""
    records = store_records("env", tmp_path, request)
    records |= {"MONGODB_URI": "mongodb://127.0.0.1:9", "WEBCALL_STORES": "env,mongo"}
    client = make_app(fake_livekit.environment | records).test_client()
    answer = client.get(PATH, headers=bearer())
    assert answer.status_code == 500
    assert answer.json is not None
    assert set(answer.json["data"]) == {"request_id"}


def test_faulty_records_leave_the_rest(
    make_app: MakeApp,
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    mongo_server: Any,
    mongo_database: str,
) -> None:
    """A document that cannot be used is left out, and the others are listed."""
    records = store_records("mongo", tmp_path, request)
    with mongo_server.client() as database:
        database[mongo_database].assistants.insert_many(
            [
                {"assistant_id": "faulty", "assistant_created_by_email": OWNER, "assistant_prompt": 7},
                {"assistant_id": 7, "assistant_created_by_email": OWNER},
                {"assistant_created_by_email": OWNER},
            ]
        )
    client = make_app(fake_livekit.environment | records).test_client()
    assert listed(client, deployment.KEY, 2) == ["helper", "other", "speaker"]
