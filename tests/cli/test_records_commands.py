"""`flask webcall records …`: from one backend to another, and through a file."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from flask import Flask

from tests.cli.conftest import NO_LIVEKIT, Run, loaded, run_on
from tests.support.deployment import API_KEYS, ASSISTANTS, KEY, OWNER, PLAIN_KEY, MakeApp, store_records
from webcall.core.portable import portable
from webcall.errors import BackendError
from webcall.interfaces import Caller, Record
from webcall.records import hash_api_key, key_hash_of

MANY = 1200


@pytest.fixture
def app(backend: str, make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest) -> Flask:
    """The sample deployment in `backend`, with an empty SQLite database that is not in use."""
    environment = NO_LIVEKIT | store_records(backend, tmp_path, request)
    return make_app(environment | {"DATABASE_URL": f"sqlite:///{tmp_path / 'new.db'}"})


@pytest.fixture
def run(app: Flask) -> Run:
    return run_on(app)


def held(app: Flask, name: str) -> tuple[dict[str, Record], dict[str, Record]]:
    """Return the keys by hash and the assistants by id that a backend has, in the forms of JSON."""
    services = app.extensions["webcall"]
    keys = [portable("key", record).record for record in services.side("validators", name).list_keys()]
    assistants = [
        portable("assistant", record).record for record in services.side("stores", name).list_assistants()
    ]
    return (
        {str(key_hash_of(record)): record for record in keys},
        {record["assistant_id"]: record for record in assistants},
    )


def test_a_copy_has_everything(run: Run, app: Flask, backend: str) -> None:
    """Keys and assistants arrive with every field, plain keys as hashes; a rerun changes nothing."""
    services = app.extensions["webcall"]
    dry = run("records", "copy", "--from", backend, "--to", "sql", "--dry-run")
    assert "dry run" in dry.stdout
    with pytest.raises(BackendError, match="tables are not there"):
        services.side("validators", "sql").validate(KEY)
    first = loaded(run("records", "copy", "--from", backend, "--to", "sql", "--json"))
    assert first["counts"] == {"keys written": len(API_KEYS), "assistants written": len(ASSISTANTS)}
    assert first["left_out"] == []
    assert held(app, "sql") == held(app, backend)
    assert hash_api_key(PLAIN_KEY) in held(app, "sql")[0]
    caller = services.side("validators", "sql").validate(KEY)
    assert caller.email == OWNER
    again = loaded(run("records", "copy", "--from", backend, "--to", "sql", "--json"))
    assert again["counts"] == {
        "keys there already": len(API_KEYS),
        "assistants there already": len(ASSISTANTS),
    }


def test_a_no_is_carried_over_and_never_undone(run: Run, app: Flask, backend: str) -> None:
    """A key revoked at the source is revoked at the target; one revoked at the target stays so."""
    services = app.extensions["webcall"]
    run("records", "copy", "--from", backend, "--to", "sql")
    source, target = (services.side("validators", name) for name in (backend, "sql"))
    gone, stays = [found for found, record in held(app, backend)[0].items() if "is_active" not in record][:2]
    source.update_key(gone, {"is_active": False})
    target.update_key(stays, {"is_active": False})
    for options in ((), ("--update",)):
        told = loaded(run("records", "copy", "--from", backend, "--to", "sql", "--json", *options, status=1))
        assert [one["why"] for one in told["left_out"]] == [
            "this key has ended at the target, and a copy never revives one"
        ]
        keys = held(app, "sql")[0]
        assert (keys[gone]["is_active"], keys[stays]["is_active"]) == (False, False)
    assert held(app, backend)[0][stays].get("is_active") is None


def test_what_differs_is_left_out_unless_told_otherwise(run: Run, app: Flask, backend: str) -> None:
    """Another definition at the target stays until --update; another owner's stays even then."""
    store = app.extensions["webcall"].side("stores", "sql")
    mine, foreign = [one["assistant_id"] for one in ASSISTANTS if one["assistant_created_by_email"] == OWNER][
        :2
    ]
    store.put_assistant({"assistant_id": mine, "assistant_created_by_email": OWNER, "mine": 1})
    store.put_assistant({"assistant_id": foreign, "assistant_created_by_email": "eve@example.com"})
    first = run("records", "copy", "--from", backend, "--to", "sql", status=1).stdout
    assert f"left out: assistant {mine}: the target has another definition" in first
    assert f"left out: assistant {foreign}: another owner has this id" in first
    assert store.find_assistant(mine)["mine"] == 1
    run("records", "copy", "--from", backend, "--to", "sql", "--update", status=1)
    assert store.find_assistant(mine) == held(app, backend)[1][mine]
    assert store.get(foreign, Caller("eve@example.com")) is not None


def test_through_a_file(run: Run, app: Flask, backend: str, tmp_path: Path) -> None:
    """An exported file is its owner's alone, holds no plain key, and gives the same records back."""
    file = tmp_path / "all.jsonl"
    run("records", "export", "--from", backend, str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text("utf-8")
    assert PLAIN_KEY not in text
    assert json.dumps(PLAIN_KEY) not in text
    told = run("records", "import", "--to", "sql", str(file)).stdout
    assert f"keys written: {len(API_KEYS)}" in told
    assert held(app, "sql") == held(app, backend)
    assert "there already" in run("records", "import", "--to", "sql", "-", answer=text).stdout
    nowhere = str(tmp_path / "missing" / "all.jsonl")
    assert "cannot be written: No such file" in run("records", "export", nowhere, status=1).stderr


def test_without_a_name_it_is_what_is_in_use(run: Run, app: Flask, tmp_path: Path) -> None:
    """An export without --from reads the backend in use, an import without --to writes to it."""
    file = tmp_path / "keys.jsonl"
    assert "alone" not in run("records", "export", "--only", "keys", str(file)).stderr
    header, *lines = file.read_text("utf-8").splitlines()
    assert json.loads(header) == {"webcall_records": 1}
    assert [json.loads(line)["kind"] for line in lines] == ["key"] * len(API_KEYS)
    told = run("records", "import", str(file)).stdout
    assert told == f"keys there already: {len(API_KEYS)}\n"


def test_an_export_of_the_first_says_what_is_not_in_it(make_app: MakeApp, tmp_path: Path) -> None:
    """Without --from, the other backends in use are named: what was meant for a backup may be empty."""
    environment = NO_LIVEKIT | {"WEBCALL_VALIDATORS": "env,file", "WEBCALL_STORES": "env,file"}
    run = run_on(make_app(environment))
    file = str(tmp_path / "all.jsonl")
    told = run("records", "export", file).stderr
    assert "exported 0 records" in told
    for what in ("keys", "assistants"):
        assert f"{what}: those of 'env' alone; --from exports those of file" in told
    assert "assistants: " not in run("records", "export", "--only", "keys", file).stderr


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("canary", "line 3: not an object of kind and record"),
        ('{"kind": "canary", "record": {}}', "line 3: neither a key nor an assistant"),
        ('{"kind": "key", "record": {"api_key": "canary"}}', "line 3: a key in plain"),
        ('{"kind": "assistant", "record": ["canary"]}', "line 3: neither a key nor an assistant"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_stored(run: Run, tmp_path: Path, line: str, told: str) -> None:
    """A file with a line that cannot be used is refused whole, and nothing of the line is quoted."""
    good = '{"kind": "assistant", "record": {"assistant_id": "new", "assistant_created_by_email": "a@b.c"}}'
    file = tmp_path / "bad.jsonl"
    file.write_text(f'{{"webcall_records": 1}}\n{good}\n{line}\n')
    result = run("records", "import", "--to", "sql", str(file), status=1)
    assert told in result.stderr
    assert "canary" not in result.stderr
    file.write_text(f"{good}\n")
    assert "not the header" in run("records", "import", "--to", "sql", str(file), status=1).stderr


def test_who_cannot_says_so(run: Run, backend: str) -> None:
    """A target that is read-only, a source that cannot list, and an unknown name end in one line each."""
    copy = ("records", "copy", "--from", backend, "--to")
    assert "read-only" in run(*copy, "env", status=1).stderr
    assert "the same backend" in run(*copy, backend, status=1).stderr
    assert (
        "no plugin offers a backend 'sqll' for this; did you mean 'sql'"
        in run(*copy, "sqll", status=1).stderr
    )
    from_login = ("records", "copy", "--from", "jwt", "--to", "sql")
    assert "backends.jwt.issuer: missing" in run(*from_login, status=1).stderr


def test_a_broken_record_is_left_out_by_name(run: Run, app: Flask, backend: str, tmp_path: Path) -> None:
    """A record that cannot be used is left out with the reason, and the others arrive, by a file too."""
    services = app.extensions["webcall"]
    store = services.side("stores", "sql")
    store.prepare()
    rows = [
        {"assistant_id": "broken", "owner": OWNER, "record": {"assistant_id": "broken"}},
        {
            "assistant_id": "good",
            "owner": OWNER,
            "record": {"assistant_id": "good", "assistant_created_by_email": OWNER},
        },
    ]
    with store._connection.writing() as session:
        session.execute(store.TABLE.insert(), rows)
    services.side("validators", "sql").prepare()
    file = tmp_path / "all.jsonl"
    run("records", "export", "--from", "sql", str(file))
    for move, outcome in (
        (("copy", "--from", "sql", "--to", backend), "assistants written: 1"),
        (("import", "--to", backend, str(file)), "assistants there already: 1"),
    ):
        told = run("records", *move, status=1).stdout
        assert told.splitlines()[0] == outcome
        assert "left out: assistant broken: assistant record: assistant_created_by_email" in told
    file.write_text(f'{file.read_text("utf-8")}{{"kind": "key", "record": {{"api_key": 5}}}}\n')
    told = run("records", "import", "--to", "sql", str(file), status=1).stdout
    assert "left out: key without a name: API key record: api_key: Not a valid string." in told


def test_many_records_cost_few_questions(app: Flask, run: Run, tmp_path: Path) -> None:
    """A copy of more records than a batch reads and writes each once."""
    file = tmp_path / "many.jsonl"
    lines = ['{"webcall_records": 1}']
    for number in range(MANY):
        record = {"api_key_hash": f"{number:064x}", "user_email": OWNER, "number": number}
        lines.append(json.dumps({"kind": "key", "record": record}))
    file.write_text("\n".join(lines))
    assert f"keys written: {MANY}" in run("records", "import", "--to", "sql", str(file)).stdout
    keys = held(app, "sql")[0]
    assert sorted(record["number"] for record in keys.values()) == list(range(MANY))
