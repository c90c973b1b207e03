"""Every error path leaves in the one envelope, with a request id."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from werkzeug.exceptions import ImATeapot

from tests.support.deployment import bearer
from webcall import errors

PATH = "/web_call/get_token"


@pytest.fixture
def raising(app: Flask) -> Any:
    """A route that raises what the test puts into it."""
    box: dict[str, BaseException] = {}

    @app.get("/raise")
    def view() -> None:
        raise box["error"]

    return box


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Unauthorized(), 401),
        (errors.AssistantNotFound(), 404),
        (errors.TextOnlyUnsupported(), 400),
        (errors.InvalidMetadata("Too long."), 422),
        (errors.Busy(3), 503),
        (errors.TooMany(3, "Too many."), 429),
        (errors.LimitsUnavailable("limits: down"), 503),
        (errors.BackendError("mongo: down"), 500),
        (errors.RecordError("record"), 500),
        (errors.TemplateError("unclosed"), 500),
        (errors.LiveKitError("timeout", "no answer"), 500),
        (errors.Refused("stray"), 500),
        (ValueError("a defect with lvk_secret"), 500),
        (ImATeapot(), 418),
    ],
)
def test_each_error_has_its_answer(raising: Any, app: Flask, error: BaseException, status: int) -> None:
    """Whatever is raised, the answer is the envelope, and a 500 says nothing of the inside."""
    raising["error"] = error
    answer = app.test_client().get("/raise")
    assert answer.status_code == status
    assert answer.json is not None
    assert list(answer.json) == ["success", "message", "data"]
    assert answer.json["success"] is False
    assert answer.headers["X-Request-ID"]
    if status == 500:
        assert answer.json["data"] == {"request_id": answer.headers["X-Request-ID"]}
        assert answer.headers["X-Request-ID"] in answer.json["message"]
        assert str(error) not in answer.text
    if status in (429, 503):
        assert answer.headers["Retry-After"] == ("1" if "limits" in str(error) else "3")


def test_errors_of_the_framework(client: FlaskClient) -> None:
    """An unknown route and a wrong method leave in the envelope; Allow is kept."""
    missing = client.get("/nowhere")
    wrong = client.get(PATH)
    assert (missing.status_code, wrong.status_code) == (404, 405)
    for answer in (missing, wrong):
        assert answer.json is not None
        assert set(answer.json) == {"success", "message", "data"}
    assert "POST" in wrong.headers["Allow"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("abc-DEF_1.2", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("with space", False),
        ("semi;colon", False),
        ("line\u0085", False),
    ],
)
def test_request_ids(client: FlaskClient, given: str, kept: bool) -> None:
    """The caller's own id is kept if it is 1 to 128 plain characters; else one is made."""
    answer = client.get("/health", headers={"X-Request-ID": given})
    if kept:
        assert answer.headers["X-Request-ID"] == given
    else:
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_health(client: FlaskClient) -> None:
    """GET /health answers word for word as the contract has it."""
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json == {"success": True, "message": "Service is healthy and operational", "data": {}}


def test_authentication_comes_before_the_body(client: FlaskClient) -> None:
    """A stranger's body is not looked at, however wrong or large it is."""
    for body in (b"{", b"x" * 100_000):
        answer = client.post(PATH, data=body, headers=bearer("lvk_nobody"), content_type="application/json")
        assert answer.status_code == 401


def test_a_head_request_gets_the_head_alone(client: FlaskClient) -> None:
    """The head is that of GET, with the length that its body would have; the body is not there."""
    whole, head = client.get("/nothing"), client.head("/nothing")
    assert (head.status_code, head.data) == (404, b"")
    assert head.headers["Content-Length"] == str(len(whole.data))
    assert set(head.headers.keys()) == set(whole.headers.keys())


def test_what_awaits_the_end_of_an_answer_is_told(app: Flask) -> None:
    """A function for the end of an answer, such as an extension of Flask has, runs at the answer's end."""
    ended: list[str] = []

    @app.after_request
    def await_end(response: Response) -> Response:
        response.call_on_close(lambda: ended.append(response.status))
        return response

    with app.test_client().post(PATH):
        assert not ended
    assert ended == ["401 UNAUTHORIZED"]


def test_a_wish_for_a_websocket_is_ignored(app: Flask) -> None:
    """Who asks to switch to WebSocket is answered as without it."""
    client = app.test_client()
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert client.get("/health", headers=headers).status_code == 200
    assert client.post(PATH, headers=headers).status_code == 401
    assert client.get("/nothing", headers=headers).status_code == 404


@pytest.mark.parametrize("path", ["/web_call//get_token?k=lvk_secret", "//web_call/get_token", "/docs//a.js"])
def test_no_address_is_redirected(client: FlaskClient, path: str) -> None:
    """A redirect would repeat what stands in the address, and name a scheme that is the proxy's affair."""
    answer = client.post(path, json={})
    assert answer.status_code in (404, 405, 401)
    assert "Location" not in answer.headers
    assert b"lvk_secret" not in answer.data
