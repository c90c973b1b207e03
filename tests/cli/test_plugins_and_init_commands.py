"""`flask webcall plugins`, `flask webcall BACKEND init`, and what holds for every command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask import Flask

from tests.cli.conftest import NO_LIVEKIT, SECRET, loaded, run_on
from tests.support.deployment import API_KEYS, OWNER, ROOT, MakeApp, store_records
from tests.support.mongo import MongoServer

BUILT_IN = ("plugins.env", "plugins.file", "plugins.mongo", "plugins.sql", "plugins.jwt", "plugins.http")


def flask(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `flask webcall …` as an operator does, in a process of its own."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WEBCALL_", "LIVEKIT_", "MONGODB_", "FLASK_"))
    }
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", *arguments],
        cwd=ROOT,
        env={**clean, "WEBCALL_CONFIG": str(ROOT / "config.yaml"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_needs_no_settings() -> None:
    """Without settings the help is there, of each command too, beside what is missing; no command runs."""
    for arguments in ((), ("keys", "create"), ("watch",)):
        helped = flask({}, *arguments, "--help")
        assert helped.returncode == 0, helped.stderr
        assert helped.stdout.startswith("Usage: ")
        assert "livekit.api_key: the environment variable LIVEKIT_API_KEY is not set" in helped.stderr
    assert "keys" in flask({}, "--help").stdout
    for arguments in (("keys", "list"), ("mongo", "init", "--help"), ("keys", "create", "--owner", "--help")):
        refused = flask({}, *arguments)
        assert refused.returncode != 0
        assert "LIVEKIT_API_KEY is not set" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_plugins_tells_what_is_loaded_and_used(env_app: Flask) -> None:
    """Every backend is listed with its plugin, its version and whether it is in use."""
    run = run_on(env_app)
    rows = {row["backend"]: row for row in loaded(run("plugins", "--json"))}
    assert {name: row["plugin"] for name, row in rows.items()} == {
        "env": "plugins.env",
        "file": "plugins.file",
        "mongo": "plugins.mongo",
        "sql": "plugins.sql",
        "jwt": "plugins.jwt",
        "http": "plugins.http",
    }
    assert {name: (row["api keys"], row["assistants"]) for name, row in rows.items()} == {
        "env": ("in use", "in use"),
        "file": ("offered", "offered"),
        "mongo": ("offered", "offered"),
        "sql": ("offered", "offered"),
        "jwt": ("offered", "-"),
        "http": ("offered", "offered"),
    }
    assert all(row["version"][0].isdigit() and row["description"] for row in rows.values())
    assert "plugins.mongo" in run("plugins").stdout


def test_a_plugin_without_backends_is_listed(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that is loaded and offers nothing shows in the list all the same, an observer as one."""
    lines = ("from webcall import hookimpl", "@hookimpl", "def webcall_key_validators():", "    return []")
    (tmp_path / "offers_nothing.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env"}
    app = make_app(NO_LIVEKIT | chosen, plugins=[*BUILT_IN, "offers_nothing", "plugins.audit"])
    rows = {row["plugin"]: row for row in loaded(run_on(app)("plugins", "--json"))}
    told = [
        (rows[name]["backend"], rows[name]["description"]) for name in ("offers_nothing", "plugins.audit")
    ]
    assert told == [("-", "-"), ("-", "observes calls")]
    assert set(rows) == {*BUILT_IN, "offers_nothing", "plugins.audit"}


def test_a_defect_of_a_plugin_is_one_line(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception that a backend should not raise is named by its type and place, not by its text."""
    (tmp_path / "defective_plugin.py").write_text(
        "from webcall import Backend, hookimpl\n"
        "class Keys:\n"
        "    def validate(self, api_key):\n"
        "        return None\n"
        "    def list_keys(self):\n"
        "        raise KeyError('canary')\n"
        "@hookimpl\n"
        "def webcall_key_validators():\n"
        "    return [Backend('defective', 'fails', None, lambda settings: Keys())]\n"
        "@hookimpl\n"
        "def webcall_assistant_stores():\n"
        "    return [Backend('defective', 'cannot list', None, lambda settings: object())]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    chosen = {"WEBCALL_VALIDATORS": "defective", "WEBCALL_STORES": "env,defective"}
    run = run_on(make_app(NO_LIVEKIT | chosen, plugins=[*BUILT_IN, "defective_plugin"]), "canary")
    told = run("keys", "list", status=1).stderr
    assert told == (
        "Error: unexpected KeyError in defective_plugin.py, line 6: a defect of the service or of a plugin\n"
    )
    listed = run("assistants", "list", "--json")
    assert loaded(listed) == []
    assert listed.stderr == "the backend 'defective' cannot be listed and is left out\n"
    findings = loaded(run("check", "--json", status=1))
    assert {"part": "API keys and assistants", "status": "failed", "message": "KeyError"}.items() <= (
        next(one for one in findings if one["status"] == "failed").items()
    )


def test_mongo_init_makes_indexes_and_may_be_run_again(
    make_app: MakeApp, mongo_server: MongoServer, mongo_database: str
) -> None:
    """Check warns of missing indexes, init makes them, and a second init has nothing to do."""
    environment = {"WEBCALL_VALIDATORS": "mongo", "WEBCALL_STORES": "mongo"}
    environment |= {"MONGODB_URI": mongo_server.uri, "MONGODB_DATABASE": mongo_database}
    run = run_on(make_app(NO_LIVEKIT | environment))

    def unprepared() -> list[str]:
        found = loaded(run("check", "--json", status=1))
        return [one["fix"] for one in found if one["message"].startswith("not prepared")]

    assert len(unprepared()) == 2
    assert all("flask webcall mongo init" in fix for fix in unprepared())
    assert "mongo" in run("--help").stdout
    made = run("mongo", "init").stdout
    assert "assistant_id" in made
    assert "api_key_hash" in made
    with mongo_server.client() as client:
        indexes = client[mongo_database].assistants.index_information().values()
    assert any(index.get("unique") and index["key"][0][0] == "assistant_id" for index in indexes)
    assert unprepared() == []
    assert run("mongo", "init").stdout == "everything is there already\n"


def test_a_backend_without_preparation_says_so(env_app: Flask) -> None:
    """Init of a backend that needs none is an error; one of a backend not in use names what uses it."""
    run = run_on(env_app)
    assert "'env' needs no preparation" in run("env", "init", status=1).stderr
    told = run("mongo", "init", status=1).stderr
    assert "'mongo' is not in use" in told
    assert "WEBCALL_VALIDATORS=mongo WEBCALL_STORES=mongo" in told
    assert "No such command 'mango'" in run("mango", "init", status=2).stderr
    assert "mongo" not in run("--help").stdout


def test_statuses_of_a_real_process(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Status 0 for what went well, 1 for what did not, 2 for settings; one line each, no traceback."""
    environment = NO_LIVEKIT | store_records("file", tmp_path, request)
    made = flask(environment, "keys", "create", "--owner", OWNER)
    assert made.returncode == 0
    assert made.stdout.startswith("lvk_")
    assert len(made.stdout.splitlines()) == 1
    keys_file = tmp_path / "keys.json"
    assert len(json.loads(keys_file.read_text())) == len(API_KEYS) + 1
    assert keys_file.stat().st_mode & 0o077 == 0

    unknown = flask(environment, "assistants", "show", "nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == "Error: no store has an assistant nobody (asked: file)\n"

    wrong = flask(environment | {"LIVEKIT_API_SECRET": "canary", "WEBCALL_STORES": "fil"}, "check")
    assert wrong.returncode == 2
    assert sorted(line.split(":")[0] for line in wrong.stderr.splitlines()) == [
        "assistants.stores",
        "livekit.api_secret",
    ]
    assert "did you mean 'file'" in wrong.stderr
    assert not [text for text in ("canary", SECRET, "Traceback") if text in wrong.stderr + wrong.stdout]

    failed = flask(environment, "check")
    assert failed.returncode == 1
    assert "FAILED   livekit: ws://127.0.0.1:9: cannot connect" in failed.stdout
    assert "LIVEKIT_URL" in failed.stdout
    assert failed.stderr == ""
