"""What every answer tells a browser: walked over every route, with errors and preflights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from scripts import frontend
from tests.support import programs
from tests.support.deployment import MakeApp, bearer, store_records

LIVEKIT = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}
EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


@pytest.fixture
def whole(make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest) -> Flask:
    """A service with every route there is; LiveKit does not answer, which is one more error."""
    try:
        frontend.ensure_library()
    except frontend.NoFrontend as error:
        programs.without("livekit-client", str(error))
    away = {"LIVEKIT_URL": f"ws://127.0.0.1:{programs.free_port()}"}
    records = store_records("file", tmp_path, request)
    return make_app(LIVEKIT | away | records, http={"playground": True})


def held(answer: TestResponse) -> None:
    """Fail unless an answer has what every answer has, each once."""
    for name, value in EVERYWHERE.items():
        assert answer.headers.getlist(name) == [value], name
    [policy] = answer.headers.getlist("Content-Security-Policy")
    assert "unsafe" not in policy
    rules = dict(part.split(" ", 1) for part in policy.split("; "))
    for rule in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        assert rules[rule] == "'none'"
    [resource] = answer.headers.getlist("Cross-Origin-Resource-Policy")
    of_widget = answer.request is not None and answer.request.path.startswith("/widget")
    assert resource == ("cross-origin" if of_widget and answer.status_code != 405 else "same-origin")
    # Without cookies no other page can act with a visitor's.
    assert "Set-Cookie" not in answer.headers
    # The proxy's, which alone knows whether there is TLS.
    assert "Strict-Transport-Security" not in answer.headers
    is_page = answer.mimetype == "text/html"
    assert ("Permissions-Policy" in answer.headers) is is_page
    assert ("Cross-Origin-Opener-Policy" in answer.headers) is is_page


def test_every_route_has_them_whatever_it_answers(whole: Flask) -> None:
    """Every route with every method, each refused method, and each preflight: all have the headers."""
    client = whole.test_client()
    seen: dict[int, list[str]] = {}
    for rule in whole.url_map.iter_rules():
        path = rule.rule.replace("<name>", "nothing.js")
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
            answer = client.open(path, method=method)
            held(answer)
            seen.setdefault(answer.status_code, []).append(f"{method} {path}")
        preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        answer = client.options(path, headers=preflight)
        held(answer)
        assert answer.status_code == 204
    assert {200, 401, 404, 405, 503} <= set(seen)
    assert "GET /docs" in seen[200]
    assert "GET /playground" in seen[200]


@pytest.mark.parametrize(
    ("status", "path", "sent"),
    [
        (404, "/nowhere", {}),
        (404, "/docs/..%2f..%2fapp.py", {}),
        (413, "/web_call/get_token", {"data": b" " * 70_000, "content_type": "application/json"}),
        (422, "/web_call/get_token", {"data": b"{", "content_type": "application/json"}),
        (500, "/web_call/get_token", {"json": {"assistant_id": "helper"}}),
    ],
)
def test_errors_have_them_too(whole: Flask, status: int, path: str, sent: dict[str, Any]) -> None:
    """An error of the framework, of the body and of an outage is hardened as any answer is."""
    answer = whole.test_client().open(path, method="POST" if sent else "GET", headers=bearer(), **sent)
    assert answer.status_code == status
    held(answer)


def test_files_of_pages_have_them_too(whole: Flask) -> None:
    """The files behind hashed names, and the unchanged entry of the widget, keep them."""
    client = whole.test_client()
    paths = [
        part.split('"')[0]
        for page in ("/docs", "/playground")
        for part in client.get(page).text.replace('src="', 'href="').split('href="')[1:]
        if not part.startswith("data:")
    ]
    assert len(paths) > 3
    for path in paths:
        answer = client.get("/" + path.lstrip("/"))
        assert answer.status_code == 200
        held(answer)
    tag = client.get("/widget.js").headers["ETag"]
    unchanged = client.get("/widget.js", headers={"If-None-Match": tag})
    assert unchanged.status_code == 304
    held(unchanged)


def test_only_the_playground_may_use_a_microphone(whole: Flask) -> None:
    """It alone asks for one, and for no camera; nobody frames it."""
    client: FlaskClient = whole.test_client()
    assert client.get("/playground").headers["Permissions-Policy"].startswith("microphone=(self), camera=()")
    assert client.get("/docs").headers["Permissions-Policy"].startswith("microphone=(), camera=()")
