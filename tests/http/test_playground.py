"""`GET /playground`: its headers, its files, and what an operator is told."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from scripts import frontend
from tests.support.deployment import ROOT, MakeApp, store_records
from webcall.errors import ConfigError
from webcall.http import playground
from webcall.http.assets import Assets

LIVEKIT = {
    "LIVEKIT_URL": "http://inner.example:7880",
    "LIVEKIT_PUBLIC_URL": "wss://calls.example/",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "s" * 32,
}


@pytest.fixture
def environment(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    return LIVEKIT | store_records("env", tmp_path, request)


@pytest.fixture
def pages(make_app: MakeApp, environment: dict[str, str], library: Path) -> FlaskClient:
    """A service with the playground switched on."""
    return make_app(environment, http={"playground": True}).test_client()


def files_of(text: str) -> list[str]:
    return re.findall(r'(?:src|href)="(playground/[^"]+)"', text)


def test_the_page_has_a_strict_policy_and_is_not_kept(pages: FlaskClient) -> None:
    """It may reach itself and the LiveKit that browsers use, by ws and http, and holds no inline code."""
    page = pages.get("/playground")
    assert page.status_code == 200
    assert page.mimetype == "text/html"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self' wss://calls.example https://calls.example",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page.text)
    assert "//" not in page.text.replace("<!doctype", ""), "nothing is loaded from another host"


def test_its_files_are_kept_for_ever_under_hashed_names(pages: FlaskClient) -> None:
    """Everything that the page loads, directly or by an import, is there, hashed, and nothing else is."""
    waiting = ["/" + path for path in files_of(pages.get("/playground").text)]
    seen = set()
    while waiting:
        path = waiting.pop()
        file = pages.get(path)
        assert file.status_code == 200, path
        assert file.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert file.mimetype == ("text/css" if path.endswith(".css") else "text/javascript")
        assert re.search(r"\.[0-9a-f]{12}\.(js|css)$", path)
        packed = pages.get(path, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.data) == file.data
        seen.add(path.split("/")[-1].split(".")[0])
        if "livekit-client" not in path:
            imported = re.findall(r'from "\./([^"]+)"', file.text)
            waiting += [f"/playground/{name}" for name in imported if name.split(".")[0] not in seen]
    assert seen == {Path(name).name.split(".")[0] for name in playground._FILES}
    for name in ("playground.js", "tsconfig.json", "..%2fplayground.py"):
        assert pages.get(f"/playground/{name}").status_code == 404


def test_another_content_has_another_name(tmp_path: Path) -> None:
    """A file's name follows its content, and that of what it imports."""
    inner, outer = tmp_path / "inner.js", tmp_path / "outer.js"
    outer.write_text('import "./inner.js";')

    def name() -> str:
        return Assets({"inner.js": inner, "outer.js": outer}).names["outer.js"]

    inner.write_text("1")
    first = name()
    assert name() == first
    inner.write_text("2")
    assert name() != first


def test_it_is_off_by_default(make_app: MakeApp, environment: dict[str, str]) -> None:
    """Without http.playground there is nothing at its address but the envelope's 404."""
    client = make_app(environment).test_client()
    for path in ("/playground", "/playground/playground.js"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json is not None
        assert answer.json["success"] is False


def test_a_missing_library_is_told_with_its_mend(
    make_app: MakeApp, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service whose playground is on ends at the start with one line, which names the command."""
    monkeypatch.setattr(playground, "STATIC", tmp_path)
    make_app(environment)
    with pytest.raises(ConfigError) as raised:
        make_app(environment, http={"playground": True})
    [line] = raised.value.faults
    assert line.startswith("http.playground: ")
    assert "python -m scripts.frontend" in line


def test_gunicorn_ends_where_the_library_is_missing(environment: dict[str, str], tmp_path: Path) -> None:
    """Under gunicorn a missing library is one line and status 2, before any worker is made."""
    copy = tmp_path / "project"
    leave_out = shutil.ignore_patterns("vendor", "__pycache__")
    for folder in ("webcall", "plugins"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=leave_out)
    for name in ("wsgi.py", "gunicorn.conf.py", "config.yaml"):
        shutil.copy(ROOT / name, copy / name)
    given = {
        name: value for name, value in os.environ.items() if not name.startswith(("LIVEKIT_", "WEBCALL_"))
    }
    given |= {**environment, "WEBCALL_BIND": "127.0.0.1:0", "WEBCALL_PLAYGROUND": "true"}
    ended = subprocess.run(
        [sys.executable, "-m", "gunicorn"], cwd=copy, env=given, capture_output=True, text=True, timeout=60
    )
    [line] = ended.stderr.splitlines()
    assert line.startswith("http.playground: LiveKit's library for browsers is missing")
    assert ended.returncode == 2


@pytest.mark.parametrize(
    ("server_url", "sources"),
    [
        ("ws://127.0.0.1:7880", "ws://127.0.0.1:7880 http://127.0.0.1:7880"),
        ("wss://calls.example/livekit", "wss://calls.example https://calls.example"),
    ],
)
def test_the_policy_names_livekit_twice(server_url: str, sources: str) -> None:
    """LiveKit is reached by ws and by http, with or without TLS as it is configured."""
    assert f"connect-src 'self' {sources};" in playground.policy(server_url)


def test_the_wheel_holds_the_page_and_livekits_library(library: Path, tmp_path: Path) -> None:
    """A wheel built without a network has all that the page loads, with the licence, and no tool's file."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    command += ["--no-index", "--wheel-dir", str(tmp_path), copy_of_the_project(tmp_path)]
    built: Any = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        prefix = "webcall/http/static/"
        names = {name.removeprefix(prefix) for name in packed.namelist() if name.startswith(prefix)}
        assert packed.read(prefix + "vendor/" + library.name) == library.read_bytes()
    assert {*playground._FILES, "playground.html", f"vendor/{frontend.LICENCE}"} <= names
    assert not {"package.json", "tsconfig.json"} & names


def copy_of_the_project(folder: Path) -> str:
    """Return a copy to build from: two builds at once in one folder would mix their files."""
    copy = folder / "project"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    vendor = [str(path.relative_to(ROOT)) for path in (frontend.STATIC / "vendor").iterdir()]
    for name in [*listed, *vendor]:
        if name.startswith(("webcall/", "plugins/", "scripts/", "setup.py", "pyproject.toml")):
            source, target = ROOT / name, copy / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
    return str(copy)
