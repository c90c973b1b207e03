"""`docs/writing-a-plugin.md`: the code on the page is taken from it and run."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from flask import Flask

from tests.support.deployment import ROOT, MakeApp, bearer, livekit_environment, settings
from tests.support.livekit import LiveKitServer
from webcall.core.observers import CREATED, ENDED, REFUSED
from webcall.errors import ConfigError
from webcall.observed import CreatedCall, EndedBy, EndedCall, RefusedCall
from webcall.plugin_manager import ENTRY_POINTS, load_plugins
from webcall.startup import prepare

PAGE = ROOT / "docs" / "writing-a-plugin.md"
_BLOCK = re.compile(
    r"<!-- (?:file: (?P<file>\S+)|run) -->\n```\w+\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


def parts_of_page() -> dict[str, str]:
    """Return the page's files by name, blocks of one file joined, and its commands under an empty name."""
    found: dict[str, list[str]] = {}
    for block in _BLOCK.finditer(PAGE.read_text("utf-8")):
        found.setdefault(block["file"] or "", []).append(block["code"])
    return {name: "\n\n".join(codes) for name, codes in found.items()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's files in a folder, with the module importable there and the package as if installed."""
    parts = parts_of_page()
    for name, text in parts.items():
        if name:
            (tmp_path / name).write_text(text, "utf-8")
    project = tomllib.loads(parts["pyproject.toml"])["project"]
    installed = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    [(group, points)] = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    assert group == ENTRY_POINTS
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("webcall_sqlite", None)


@pytest.fixture
def written(folder: Path) -> dict[str, Any]:
    """The page's sections of config.yaml."""
    loaded: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    return loaded


@pytest.fixture
def plugin_app(make_app: MakeApp, livekit_server: LiveKitServer, written: dict[str, Any]) -> Flask:
    """The service with the page's configuration."""
    return make_app(livekit_environment(livekit_server), **written)


def test_the_start_up_takes_the_plugin(written: dict[str, Any]) -> None:
    """The page's configuration is good, and the backend `sqlite` is the one in use on both sides."""
    environment = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}
    setup = prepare(settings(**written), environment)
    assert [chosen.backend.name for chosen in (*setup.validators, *setup.stores)] == ["sqlite", "sqlite"]
    assert setup.settings["sqlite"] == {"path": "webcall.db", "timeout_s": 2.0}
    assert setup.plugins.offered_by["sqlite"] == "sqlite"


def test_a_missing_setting_is_told_as_the_page_says(written: dict[str, Any]) -> None:
    """The fault that the page shows for a missing path is the one that the start-up gives."""
    written["backends"]["sqlite"] = {}
    environment = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}
    with pytest.raises(ConfigError) as caught:
        prepare(settings(**written), environment)
    assert caught.value.faults == ("backends.sqlite.path: missing",)
    assert f"`{caught.value.faults[0]}`" in PAGE.read_text("utf-8")


def test_the_page_leads_to_a_call(plugin_app: Flask, livekit_server: LiveKitServer) -> None:
    """The page's commands, run in order, store an assistant and a key that place a call on LiveKit."""
    printed = {}
    for line in parts_of_page()[""].splitlines():
        command = shlex.split(line)
        result = plugin_app.test_cli_runner().invoke(args=command[1:])
        assert result.exit_code == 0, (line, result.output)
        printed[command[2]] = result
    api_key = printed["keys"].stdout.strip()
    assert api_key.startswith("lvk_")
    body = {"assistant_id": "reception"}
    client = plugin_app.test_client()
    answer = client.post("/web_call/get_token", json=body, headers=bearer(api_key))
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    assert answer.json["data"]["server_url"] == livekit_server.url
    assert client.post("/web_call/get_token", json=body, headers=bearer(api_key + "x")).status_code == 401
    Path("webcall.db").write_bytes(b"no database any more" * 1000)
    assert client.post("/web_call/get_token", json=body, headers=bearer(api_key)).status_code == 500


@pytest.mark.usefixtures("folder")
def test_the_pages_own_tests_pass() -> None:
    """The contract suites pass for the plugin in a run of their own, with no test skipped."""
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:cov"]
    done = subprocess.run(
        [*command, "test_webcall_sqlite.py"], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 50
    assert "skipped" not in done.stdout


def test_the_observers_of_the_page_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's observing plugin is loaded, and all of its hooks take what they are given."""
    [code] = re.findall(
        r"<!-- observers -->\n```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "page_observers.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    plugins, faults = load_plugins(["page_observers"])
    assert faults == []
    hooks = plugins.hooks_of([CREATED, REFUSED, ENDED])["page_observers"]
    assert set(hooks) == {CREATED, REFUSED, ENDED}
    now = datetime.now(UTC)
    hooks[CREATED](call=CreatedCall("room", "reception", "ada@example.com", None, False, False, "id", now))
    hooks[REFUSED](reason="rate", call=RefusedCall("rate", 429, None, None, None, "id", now))
    ended = EndedCall("room", "reception", "ada@example.com", None, False, now, now, now, 0, "caller", True)
    hooks[ENDED](call=ended)


def test_the_words_for_who_ended_a_call() -> None:
    """The page's table has each word that observers may be told, and no other."""
    table = PAGE.read_text().partition("| `ended_by` | Means |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(get_args(EndedBy))
