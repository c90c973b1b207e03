"""`GET /widget.js`: how browsers may keep and load it, and how little it is before a call."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.support.deployment import MakeApp
from webcall.http import widget

LIVEKIT = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}
MOST_BYTES = 25 * 1024
OPEN = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}


@pytest.fixture
def pages(make_app: MakeApp, library: Path) -> FlaskClient:
    """A service as it is out of the box."""
    return make_app(LIVEKIT).test_client()


def imported(text: str, how: str) -> list[str]:
    # Comments name modules for their types.
    code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    return re.findall(rf'{how} ?\(?"\./(?:widget/)?([\w.-]+)"', code)


def loaded(pages: FlaskClient, names: list[str]) -> dict[str, str]:
    """Return the files that these names load with them, all of them, by their hashed names."""
    found: dict[str, str] = {}
    while names:
        name = names.pop()
        if name not in found:
            found[name] = pages.get(f"/widget/{name}").text
            names += imported(found[name], "from")
    return found


def plain(names: list[str]) -> set[str]:
    return {name.rsplit(".", 2)[0] + ".js" for name in names}


def test_its_own_name_is_kept_for_minutes_and_asked_for_again_by_its_tag(pages: FlaskClient) -> None:
    """The entry has an ETag and five minutes; asked again with the ETag it is a 304 without a body."""
    entry = pages.get("/widget.js")
    assert (entry.status_code, entry.mimetype) == (200, "text/javascript")
    assert entry.headers["Cache-Control"] == "public, max-age=300"
    again = pages.get("/widget.js", headers={"If-None-Match": entry.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert OPEN.items() <= dict(again.headers).items()


@pytest.mark.parametrize("cors", ["*", "https://a.example", "off"])
def test_every_page_may_load_it(make_app: MakeApp, library: Path, cors: str) -> None:
    """Whoever may read the answers to calls, the widget's files load everywhere, without credentials."""
    pages = make_app(LIVEKIT, http={"cors_origins": cors}).test_client()
    entry = pages.get("/widget.js", headers={"Origin": "https://b.example"})
    [name] = imported(entry.text, "from")
    file = pages.get(f"/widget/{name}", headers={"Origin": "https://b.example"})
    for answer in (entry, file):
        assert answer.status_code == 200
        for header, value in OPEN.items():
            assert answer.headers.getlist(header) == [value]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    health = pages.get("/health", headers={"Origin": "https://b.example"})
    assert health.headers.get("Access-Control-Allow-Origin") == ("*" if cors == "*" else None)
    assert health.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_little_is_loaded_before_a_call(pages: FlaskClient) -> None:
    """Until its panel is opened it is under 25 KB, uncompressed, and nothing of LiveKit's; then the rest."""
    entry = pages.get("/widget.js").text
    at_once = loaded(pages, imported(entry, "from"))
    assert plain(list(at_once)) == set(widget.AT_ONCE)
    texts = [entry, *at_once.values()]
    assert sum(len(text.encode()) for text in texts) < MOST_BYTES
    assert sum(len(gzip.compress(text.encode())) for text in texts) < MOST_BYTES / 2
    later = [name for text in texts for name in imported(text, "import")]
    assert plain(later) == {"widget-call.js"}
    with_the_call = loaded(pages, later)
    assert plain(list(with_the_call)) == set(widget._WITH_THE_CALL)
    [library_name] = re.findall(r'"\./(livekit-client\.umd\.\w+\.js)"', "".join(with_the_call.values()))
    library = pages.get(f"/widget/{library_name}").text
    assert library.startswith("const exports = {}, module = { exports };")
    assert library.endswith("export default exports;\n")


def test_it_can_be_switched_off(make_app: MakeApp) -> None:
    """Without http.widget there is nothing at its addresses but the envelope's 404."""
    pages = make_app(LIVEKIT, http={"widget": False}).test_client()
    assert pages.get("/widget.js").get_json()["success"] is False
    assert pages.get("/widget.js").status_code == 404


def test_a_service_without_livekits_library_starts(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where the library was never fetched there is no widget, and the log says how to get it."""
    monkeypatch.setattr(widget, "LIVEKIT", "vendor/not-there.js")
    pages = make_app(LIVEKIT).test_client()
    assert pages.get("/widget.js").status_code == 404
    assert pages.get("/health").status_code == 200
    assert "python -m scripts.frontend" in "".join(capfd.readouterr())
