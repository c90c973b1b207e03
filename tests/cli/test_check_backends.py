"""`flask webcall check` names what is wrong with the backends and what they hold, and the fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from tests.cli.conftest import NO_LIVEKIT, loaded, run_on
from tests.support.deployment import (
    APP_KEY,
    KEY,
    OWNER,
    STRANGER,
    MakeApp,
    store_records,
)
from tests.support.mongo import MongoServer
from tests.support.programs import free_port

PASSWORD = "canary-of-the-database-password"


def test_mongo_is_down(make_app: MakeApp) -> None:
    """A MongoDB that does not answer is named by its address, without the URI's password."""
    uri = f"mongodb://service:{PASSWORD}@127.0.0.1:{free_port()}/"
    environment = NO_LIVEKIT | {"WEBCALL_VALIDATORS": "mongo", "WEBCALL_STORES": "mongo"}
    app = make_app(environment, backends={"mongo": {"uri": uri, "timeout_s": 0.2}})
    run = run_on(app, PASSWORD)
    findings = [one for one in loaded(run("check", "--json", status=1)) if "mongo" in one["part"]]
    assert [one["status"] for one in findings] == ["failed", "failed"]
    for finding in findings:
        assert "does not answer: MongoDB at 127.0.0.1:" in finding["message"]
        assert "backends.mongo" in finding["fix"]
    # The other commands say it in one line, too.
    for command in (("keys", "list"), ("assistants", "list"), ("keys", "create", "--owner", OWNER)):
        result = run(*command, status=1)
        assert result.stderr.startswith("Error: MongoDB at 127.0.0.1:")
        assert len(result.stderr.splitlines()) == 1


def test_a_mistyped_variable(make_app: MakeApp) -> None:
    """A variable that nothing reads is told beside the unset one that it resembles, of what is in use."""
    odd = {"WEBCALL_LIMIT_STORAGE": "CANARY", "MONGODB_URL": "CANARY", "LIVEKIT_API_KEYS": "CANARY"}
    found = loaded(run_on(make_app(NO_LIVEKIT | odd), "CANARY")("check", "--json", status=1))
    [told] = [one["message"] for one in found if one["part"] == "settings" and one["status"] == "warning"]
    assert "WEBCALL_LIMIT_STORAGE is none" in told
    assert "did you mean WEBCALL_LIMITS_STORAGE" in told


def test_a_file_that_cannot_be_used(make_app: MakeApp, tmp_path: Path) -> None:
    """A file that is broken, and one that is not there, are told with the place and with a fix of its own."""
    broken, absent = tmp_path / "keys.yaml", tmp_path / "assistants.yaml"
    broken.write_text("- user_email: [\n")
    environment = {"WEBCALL_VALIDATORS": "file", "WEBCALL_STORES": "file"}
    environment |= {"WEBCALL_API_KEYS_FILE": str(broken), "WEBCALL_ASSISTANTS_FILE": str(absent)}
    found = loaded(run_on(make_app(NO_LIVEKIT | environment))("check", "--json", status=1))
    told = {
        one["part"]: (one["status"], one["message"], one["fix"]) for one in found if "file" in one["part"]
    }
    status, message, fix = told["auth.validators: file"]
    assert (status, message.startswith(f"cannot be used: {broken}: line 2, column 1: not YAML")) == (
        "failed",
        True,
    )
    assert fix == "correct it at that place; it is read again by itself"
    status, message, fix = told["assistants.stores: file"]
    assert (status, message) == ("failed", f"cannot be used: {absent}: no such file or folder")
    assert "correct its path in backends.file" in fix


def test_tables_that_are_not_there(make_app: MakeApp, tmp_path: Path) -> None:
    """A database without tables is told with the command that makes them, and not as one that is down."""
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path / 'kept.db'}"}
    environment |= {"WEBCALL_VALIDATORS": "sql", "WEBCALL_STORES": "sql"}
    found = loaded(run_on(make_app(NO_LIVEKIT | environment))("check", "--json", status=1))
    told = [(one["message"], one["fix"]) for one in found if one["part"].endswith(": sql")]
    message = "cannot be used: sql: the tables are not there: make them with `flask webcall sql init`"
    assert told == [(message, "do that, if backends.sql.url names the right database")] * 2


def test_a_misspelt_database(make_app: MakeApp, mongo_server: MongoServer, mongo_database: str) -> None:
    """A database without the collections is empty: which one is asked is named, and the settings."""
    environment = {"MONGODB_URI": mongo_server.uri, "MONGODB_DATABASE": mongo_database}
    environment |= {"WEBCALL_VALIDATORS": "mongo", "WEBCALL_STORES": "mongo"}
    run = run_on(make_app(NO_LIVEKIT | environment))
    findings = {one["part"]: one for one in loaded(run("check", "--json", status=1))}
    for part, collection in (
        ("auth.validators: mongo", "api_keys"),
        ("assistants.stores: mongo", "assistants"),
    ):
        assert findings[part]["status"] == "warning"
        assert collection in findings[part]["message"]
        assert mongo_database in findings[part]["message"]
        assert "backends.mongo" in findings[part]["fix"]
    for part in ("API keys", "assistants"):
        assert findings[part]["status"] == "warning"
        assert findings[part]["message"] == f"there are none: 0 in mongo (database {mongo_database})"
        assert "flask webcall" in findings[part]["fix"]


def findings_of(app: Flask, *arguments: str) -> list[tuple[str, str, str]]:
    """Return (part, status, message) of all findings but those about LiveKit, watcher and worker.

    None of the three is there.
    """
    found = loaded(run_on(app)("check", *arguments, "--json", status=1))
    return [
        (one["part"], one["status"], one["message"])
        for one in found
        if one["part"] not in ("livekit", "watch", "worker")
    ]


def test_an_assistant_that_no_store_has(stored_app: Flask, backend: str) -> None:
    """With --assistant, an id that is nowhere is a failure that names where was looked."""
    [told] = [one for one in findings_of(stored_app, "--assistant", "nobody") if "nobody" in one[0]]
    assert told[1] == "failed"
    assert told[2].startswith(f"no store has it; asked: {backend} (")


@pytest.mark.parametrize(
    ("assistant_id", "expected"),
    [
        ("helper", [("ok", f"active, its owner is {OWNER}")]),
        ("resting", [("failed", "inactive")]),
        ("broken", [("failed", "cannot be used: assistant_prompt")]),
        ("foreign", [("ok", f"its owner is {STRANGER}"), ("warning", "no active API key may call it")]),
    ],
)
def test_one_assistant(stored_app: Flask, assistant_id: str, expected: list[tuple[str, str]]) -> None:
    """With --assistant, what stands between a caller and the assistant is named."""
    found = findings_of(stored_app, "--assistant", assistant_id)
    told = [(status, message) for part, status, message in found if part == f"assistant {assistant_id}"]
    assert len(told) == len(expected)
    for (status, message), (status_due, text) in zip(told, expected, strict=True):
        assert status == status_due
        assert text in message


def test_an_assistant_in_the_second_store_is_no_fault(
    make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An assistant that only the second store has is there."""
    environment = store_records("file", tmp_path, request) | {"WEBCALL_STORES": "env,file"}
    found = findings_of(make_app(NO_LIVEKIT | environment), "--assistant", "helper")
    assert [status for part, status, _ in found if part == "assistant helper"] == ["ok"]


def test_what_is_stored_is_looked_at(stored_app: Flask, backend: str) -> None:
    """Plain keys, faulty definitions, and keys that fit no assistant are found."""
    run = run_on(stored_app)
    lost = run("keys", "create", "--owner", "nobody@example.com").stdout[:12]
    absent = run("keys", "create", "--owner", OWNER, "--assistant", "gone").stdout[:12]
    found = findings_of(stored_app)
    warnings = [message for _, status, message in found if status == "warning"]
    failures = [message for _, status, message in found if status == "failed"]
    assert "1 stored in plain text" in warnings
    assert f"{absent}: lists assistants that no store has: gone" in warnings
    assert any(message.startswith(f"{lost}: its owner nobody@example.com") for message in warnings)
    assert [message.split(":")[0] for message in failures] == [f"broken in {backend}"]
    # A revoked key is nobody's concern.
    run("keys", "revoke", lost, "--yes")
    assert not [message for _, _, message in findings_of(stored_app) if lost in message]


def test_restrictions_that_cannot_work(
    make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An origin that matches no page is told of, and a publishable key without what it needs is a failure."""
    environment = NO_LIVEKIT | store_records("file", tmp_path, request)
    keys = Path(environment["WEBCALL_API_KEYS_FILE"])
    assert not [message for message in findings_of(make_app(environment)) if "origins" in message[2]]
    wrong = keys.read_text().replace('"user_name": "Ada"', '"allowed_origins": ["https://a", "https://b/"]')
    keys.write_text(wrong.replace('"native": true', '"native": false'))
    found = findings_of(make_app(environment))
    [told] = [(status, message) for _, status, message in found if "origins" in message]
    assert told[0] == "warning"
    assert told[1].startswith(f"{KEY[:12]} in file: number 2 of its allowed_origins is no origin")
    assert "https://b/" not in str(found)
    assert ("API keys", "failed", f"{APP_KEY[:12]} in file: unusable record") in found
