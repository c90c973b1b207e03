"""Keys that may stand in a web page or an app, and keys bound to origins, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.deployment import (
    APP_KEY,
    BOUND_KEY,
    KEY,
    OWNER,
    PAGE,
    PAGE_KEY,
    MakeApp,
    Service,
    bearer,
    livekit_environment,
)
from tests.support.http import CALL, JSON, get, send
from tests.support.livekit import LiveKitServer
from webcall.interfaces import Caller
from webcall.records import hash_api_key

ASSISTANTS = "/web_call/assistants"
ELSEWHERE = {"Origin": "https://elsewhere.example"}
HELPER = {"assistant_id": "helper"}


def ask(client: FlaskClient, key: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Place a call of the assistant `helper`; return status and faults of the body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(CALL, json=HELPER | (body or {}), headers=bearer(key) | named)
    return answer.status_code, (answer.json or {})["data"].get("errors")


def test_a_page_may_do_what_its_key_says_and_no_more(client: FlaskClient) -> None:
    """A publishable key works from its origins only, for its assistants, with metadata of its names."""
    assert ask(client, PAGE_KEY, {"metadata": {"customer": {"name": "Ada"}}}, Origin=PAGE) == (200, None)
    assert ask(client, PAGE_KEY, Origin="https://a.shop.example")[0] == 200
    for origin in ("https://shop.example", "http://shop.example.com", "null", "", f"{PAGE}, {PAGE}"):
        assert ask(client, PAGE_KEY, Origin=origin)[0] == 403
    assert ask(client, PAGE_KEY)[0] == 403
    assert ask(client, PAGE_KEY, Origin=PAGE, Sec_Fetch_Site="same-origin")[0] == 200
    assert ask(client, PAGE_KEY, {"assistant_id": "other"}, Origin=PAGE)[0] == 404
    told = "This API key allows these names only: customer."
    assert ask(client, PAGE_KEY, {"metadata": {"customer": {}, "x": 1}}, Origin=PAGE) == (
        422,
        {"metadata": [told]},
    )


def test_the_key_decides_before_the_body_and_the_assistant(client: FlaskClient) -> None:
    """A wrong origin is a 403 whatever the body is; a name that is not allowed, a 422 for any assistant."""
    answer = client.post(CALL, data=b"{", headers=bearer(PAGE_KEY) | JSON | ELSEWHERE)
    assert answer.status_code == 403
    assert answer.json is not None
    assert set(answer.json) == {"success", "message", "data"}
    wrong = {"assistant_id": "nobody", "metadata": {"x": 1}}
    assert ask(client, PAGE_KEY, wrong, Origin=PAGE)[0] == 422


def test_an_app_sends_no_origin_and_a_page_may_not_have_its_key(client: FlaskClient) -> None:
    """A native key needs no Origin; one without a list of origins works in no page."""
    assert ask(client, APP_KEY)[0] == 200
    assert ask(client, APP_KEY, Origin=PAGE)[0] == 403
    told = {"metadata": ["This API key allows no metadata: send the request without it."]}
    assert ask(client, APP_KEY, {"metadata": {"customer": {}}}) == (422, told)


def test_a_secret_key_is_bound_where_an_origin_is_sent(client: FlaskClient) -> None:
    """With allowed origins a secret key works for servers, which send none, and for those pages."""
    assert ask(client, BOUND_KEY)[0] == 200
    assert ask(client, BOUND_KEY, {"metadata": {"any": 1}}, Origin="HTTPS://Shop.Example.com:443")[0] == 200
    assert ask(client, BOUND_KEY, Origin=f"{PAGE}:8443")[0] == 403
    assert ask(client, KEY, **ELSEWHERE)[0] == 200


def test_the_listing_asks_the_same(client: FlaskClient) -> None:
    """The listing is for the key's origins too; a page's GET to its own host comes without one."""
    for headers, status in (
        ({"Origin": PAGE}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({}, 403),
        (ELSEWHERE, 403),
        (ELSEWHERE | {"Sec-Fetch-Site": "same-origin"}, 403),
    ):
        assert client.get(ASSISTANTS, headers=bearer(PAGE_KEY) | headers).status_code == status


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"allowed_origins": (PAGE,)},
        {"allowed_assistants": frozenset({"helper"})},
        {"allowed_assistants": frozenset({"helper"}), "allowed_origins": ()},
        {"allowed_assistants": frozenset(), "native": True},
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_publishable_key_left_open_is_refused(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fields: Mapping[str, Any],
    known: bool,
) -> None:
    """Without assistants, or without origins and not native, it is a 401, and the log names its id alone.

    It is publishable by its prefix, whether its record knows that or not.
    """
    [(_, validator)] = app.extensions["webcall"].validators()
    caller = Caller(email=OWNER, key_id="lvp_left_open", publishable=known, **fields)
    monkeypatch.setattr(validator, "validate", lambda _: caller)
    assert ask(app.test_client(), PAGE_KEY, Origin=PAGE)[0] == 401
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    [told] = [line for line in lines if line["event"].startswith("key refused")]
    assert told["key"] == "lvp_left_open"
    assert not {"owner", "origin"} & told.keys()


def test_a_key_where_it_does_not_belong_is_none(
    make_service: Callable[[Mapping[str, str]], Service], livekit_server: LiveKitServer
) -> None:
    """In a query, another header or scheme, or a body, a good key is a 401, and the log has nothing of it."""
    records = [{"api_key_hash": hash_api_key(KEY), "user_email": OWNER}]
    service = make_service(
        livekit_environment(livekit_server)
        | {"WEBCALL_VALIDATORS": "env", "WEBCALL_API_KEYS": json.dumps(records)}
        | {"WEBCALL_LOG_LEVEL": "debug"}
    )
    for name in ("api_key", "key", "access_token", "token"):
        assert send(service.port, HELPER, JSON, path=f"{CALL}?{name}={KEY}").status == 401
        assert get(service.port, f"{ASSISTANTS}?{name}={KEY}").status == 401
    for headers in (
        {"X-API-Key": KEY},
        {"Cookie": f"api_key={KEY}"},
        {"Authorization": KEY},
        {"Authorization": f"Token {KEY}"},
        {"Authorization": f"Bearer Bearer {KEY}"},
        {"Authorization": f'Bearer "{KEY}"'},
        {"Authorization": f"Bearer {KEY},"},
        bearer("lvx_" + KEY[4:]),
        bearer(KEY[4:]),
        bearer(KEY + "="),
        bearer(KEY[:20] + " " + KEY[21:]),
    ):
        assert send(service.port, HELPER | {"api_key": KEY}, JSON | headers).status == 401, headers
    log = service.log.read_text()
    assert log.count('"status": 401') == 19
    assert KEY[4:20] not in log
    assert hash_api_key(KEY) not in log


def test_a_page_key_from_the_environment(
    make_app: MakeApp, livekit_server: LiveKitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One plain publishable key without restrictions is not served, and a whole record of one is."""
    environment = livekit_environment(livekit_server) | {
        "WEBCALL_VALIDATORS": "env",
        "WEBCALL_STORES": "env",
        "WEBCALL_OWNER": OWNER,
        "WEBCALL_ASSISTANTS": json.dumps([HELPER | {"assistant_created_by_email": OWNER}]),
    }
    client = make_app(environment | {"WEBCALL_API_KEY": PAGE_KEY}).test_client()
    assert ask(client, PAGE_KEY, Origin=PAGE)[0] == 401
    monkeypatch.delenv("WEBCALL_API_KEY")
    # Without a prefix: the key itself says what it is.
    record = {"api_key_hash": hash_api_key(PAGE_KEY), "user_email": OWNER}
    record |= {"allowed_assistants": ["helper"], "allowed_origins": [PAGE]}
    client = make_app(environment | {"WEBCALL_API_KEYS": json.dumps([record])}).test_client()
    assert ask(client, PAGE_KEY, Origin=PAGE)[0] == 200
    assert ask(client, PAGE_KEY)[0] == 403
