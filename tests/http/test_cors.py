"""Pages of other origins: what a browser is told, and what it then lets a script read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug.test import TestResponse

from tests.support.deployment import APP_KEY, KEY, MakeApp, Service, bearer
from tests.support.http import CALL
from tests.support.listeners import serving_files
from webcall.core.gate import Gate
from webcall.http.cors import ALLOWED_HEADERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HELPER = {"assistant_id": "helper"}
PAGE = "https://page.example"
ALLOW, EXPOSE = "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"


def preflight(origin: str = PAGE, method: str = "POST", headers: str = "authorization") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }


def every_answer(make_app: MakeApp, environment: dict[str, str], **http: Any) -> dict[str, TestResponse]:
    """Return an answer of each status, as a page of `PAGE` gets them."""
    limits = {"failed_auth_per_address": "1/minute"}
    app = make_app(environment, http=http, limits=limits)

    @app.get("/defect")
    def defect() -> None:
        raise ValueError

    client, origin = app.test_client(), {"Origin": PAGE}
    key = bearer() | origin
    answers = {
        "200": client.post(CALL, json=HELPER, headers=key),
        "200 listing": client.get("/web_call/assistants", headers=key),
        "200 health": client.get("/health", headers=origin),
        "200 document": client.get("/openapi.json", headers=origin),
        "401": client.post(CALL, json=HELPER, headers=bearer("lvk_wrong") | origin),
        "429": client.post(CALL, json=HELPER, headers=bearer("lvk_wrong") | origin),
        "403": client.post(CALL, json=HELPER, headers=bearer(APP_KEY) | origin),
        "404": client.post(CALL, json={"assistant_id": "nobody"}, headers=key),
        "404 route": client.get("/nowhere", headers=origin),
        "405": client.get(CALL, headers=origin),
        "413": client.post(CALL, data=b" " * 70_000, headers=key, content_type="application/json"),
        "422": client.post(CALL, data=b"{", headers=key, content_type="application/json"),
        "500": client.post(CALL, json={"assistant_id": "broken"}, headers=key),
        "500 defect": client.get("/defect", headers=origin),
        "204": client.options(CALL, headers=preflight()),
    }
    gate: Gate = app.extensions["webcall"].gate
    gate.resize(1)
    with gate.enter():
        answers["503"] = client.post(CALL, json=HELPER, headers=key)
    for name, answer in answers.items():
        assert answer.status_code == int(name[:3]), name
    return answers


def test_every_answer_can_be_read_by_pages(make_app: MakeApp, environment: dict[str, str]) -> None:
    """By default any page may read every answer, errors too, with Retry-After and X-Request-ID."""
    for name, answer in every_answer(make_app, environment).items():
        assert answer.headers.getlist(ALLOW) == ["*"], name
        assert answer.headers[EXPOSE] == "Retry-After, X-Request-ID"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["X-Request-ID"]


def test_a_list_of_origins_names_the_page(make_app: MakeApp, environment: dict[str, str]) -> None:
    """With a list, a page on it is named on every answer, and every answer varies by the origin."""
    origins = ["https://other.example", PAGE]
    for name, answer in every_answer(make_app, environment, cors_origins=origins).items():
        assert answer.headers.getlist(ALLOW) == [PAGE], name
        assert "Origin" in answer.vary
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origins", [["*"], [PAGE]])
def test_no_page_reads_the_metrics(
    make_app: MakeApp, environment: dict[str, str], origins: list[str]
) -> None:
    """Whatever the settings let pages read, /metrics is not among it, nor what else stands at its address."""
    client = make_app(environment, http={"cors_origins": origins}).test_client()
    for path, method in itertools.product(("/metrics", "//metrics"), ("GET", "POST", "OPTIONS")):
        # As the server gives it: the test's client would take `//metrics` for a host.
        answer = client.open(method=method, headers=preflight(), environ_overrides={"PATH_INFO": path})
        assert ALLOW not in answer.headers, (path, answer.status)
    assert ALLOW in client.get("/health", headers={"Origin": PAGE}).headers


def test_off_says_nothing(make_app: MakeApp, environment: dict[str, str]) -> None:
    """With `off` no answer speaks of CORS, so that no page of another origin can read one."""
    client = make_app(environment, http={"cors_origins": False}).test_client()
    for answer in (
        client.get("/health", headers={"Origin": PAGE}),
        client.options(CALL, headers=preflight()),
        client.post(CALL, json=HELPER, headers=bearer() | {"Origin": PAGE}),
    ):
        assert not [name for name in answer.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118


@pytest.mark.parametrize(
    ("origin", "named"),
    [
        ("https://shop.example", True),
        ("https://a.sub.example", True),
        ("https://a.b.sub.example", True),
        ("http://[::1]:8080", True),
        ("https://sub.example", False),
        ("https://evilsub.example", False),
        ("https://shop.example.evil.example", False),
        ("https://shop.example:8443", False),
        ("http://shop.example", False),
        ("https://shopXexample", False),
        ("https://shop.example.", False),
        ("https://evil.example/.sub.example", False),
        ("https://evil.example?.sub.example", False),
        ("https://evil@a.sub.example", False),
        ("https://shop.example, https://x.example", False),
        ("null", False),
        ("", False),
        (None, False),
    ],
)
def test_origins_are_compared_whole(
    make_app: MakeApp, environment: dict[str, str], origin: str | None, named: bool
) -> None:
    """An origin is named if the list holds it, scheme, host and port; else the answer still varies by it."""
    origins = "https://shop.example,https://*.sub.example,http://[::1]:8080"
    client = make_app(environment, http={"cors_origins": origins}).test_client()
    headers = {} if origin is None else {"Origin": origin}
    for answer in (
        client.get("/health", headers=headers),
        client.options(CALL, headers=preflight(origin) if origin else headers),
    ):
        assert answer.headers.getlist(ALLOW) == ([origin] if named else [])
        assert "Origin" in answer.vary


def test_preflights_need_no_key_and_no_place(make_app: MakeApp, environment: dict[str, str]) -> None:
    """A preflight is answered at every address, of a full service too, and allows what is documented."""
    app = make_app(environment)
    client = app.test_client()
    gate: Gate = app.extensions["webcall"].gate
    gate.resize(1)
    with gate.enter():
        for path in (CALL, "/web_call/assistants", "/nowhere", "/health"):
            asked = [*ALLOWED_HEADERS, "X-Other"]
            answer = client.options(path, headers=preflight(headers=",".join(asked).lower()))
            assert answer.status_code == 204
            assert not answer.data
            allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
            assert sorted(allowed) == sorted(name.lower() for name in ALLOWED_HEADERS)
            assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
            assert 600 <= int(answer.headers["Access-Control-Max-Age"]) <= 7200
    for method in ("DELETE", "PUT", "CONNECT", "nonsense"):
        answer = client.options(CALL, headers=preflight(method=method))
        assert "Access-Control-Allow-Methods" not in answer.headers
    assert "POST" in client.options(CALL).headers["Allow"], "without those headers it is no preflight"


@pytest.fixture
def page_url(tmp_path: Path) -> Iterator[str]:
    """A page of another origin: another port of this machine."""
    folder = tmp_path / "page"
    folder.mkdir()
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    with serving_files(folder) as url:
        yield url


FETCH = """async ([url, key, body, more]) => {
    const headers = {"Authorization": `Bearer ${key}`, "Content-Type": "application/json", ...more};
    try {
        const answer = await fetch(url, {method: "POST", headers, body: JSON.stringify(body)});
        const read = name => answer.headers.get(name);
        return [answer.status, (await answer.json()).success, read("X-Request-ID"), read("Retry-After")];
    } catch (error) { return [0, error.name, null, null]; }
}"""


def test_a_browser_lets_a_page_call(
    browser: Browser,
    page_url: str,
    make_service: Callable[[Mapping[str, str]], Service],
    environment: dict[str, str],
) -> None:
    """In Chromium a script of another origin calls and reads errors, unless the settings forbid it."""
    limits = {"WEBCALL_LIMIT_FAILED_AUTH": "1/minute"}
    service = make_service(environment | limits)
    closed = make_service(environment | {"WEBCALL_CORS_ORIGINS": "off"})
    elsewhere = make_service(environment | {"WEBCALL_CORS_ORIGINS": "https://elsewhere.example"})
    named = make_service(environment | {"WEBCALL_CORS_ORIGINS": f"https://elsewhere.example,{page_url}"})
    page = browser.new_page()
    page.goto(page_url)

    def fetch(one: Service, path: str = CALL, key: str = KEY, body: Any = HELPER, **more: str) -> list[Any]:
        answer: list[Any] = page.evaluate(FETCH, [one.url + path, key, body, more])
        return answer

    assert fetch(service, **{"X-Request-ID": "mine"}) == [200, True, "mine", None]
    assert fetch(named)[:2] == [200, True]
    assert fetch(service, body={"assistant_id": "nobody"})[:2] == [404, False]
    assert fetch(service, body={"x": 1})[:2] == [422, False]
    assert fetch(service, body={"assistant_id": "broken"})[:2] == [500, False]
    assert fetch(service, body={"x": "x" * 70_000})[:2] == [413, False]
    assert fetch(service, path="/nowhere")[:2] == [404, False]
    assert fetch(service, key=APP_KEY)[:2] == [403, False]
    assert fetch(service, key="lvk_wrong")[:2] == [401, False]
    status, success, request_id, retry_after = fetch(service, key="lvk_wrong")
    assert (status, success) == (429, False)
    assert len(request_id) == 32
    assert 1 <= int(retry_after) <= 60
    for one in (closed, elsewhere):
        assert fetch(one) == [0, "TypeError", None, None]
        assert b'"method": "POST"' not in one.log.read_bytes(), "not even sent: the preflight failed"
    assert fetch(service, **{"X-Other": "1"})[:2] == [0, "TypeError"], "a header that is not allowed"
