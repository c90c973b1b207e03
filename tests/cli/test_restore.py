"""A backup by `records export`, and its restore into a lost database: docs/operating.md, "Backup"."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest
from flask import Flask

from tests.cli.conftest import NO_LIVEKIT, run_on
from tests.support.deployment import (
    API_KEYS,
    ASSISTANTS,
    EXPIRED_KEY,
    KEY,
    LISTED_KEY,
    OWNER,
    REVOKED_KEY,
    MakeApp,
    bearer,
    store_records,
)
from tests.support.mongo import MongoServer
from webcall.core.portable import portable
from webcall.interfaces import Caller, Record
from webcall.records import hash_api_key


@dataclass
class Deployment:
    """A service whose records are in one backend; `lose` empties its database."""

    backend: str
    start: Callable[[], Flask]
    lose: Callable[[], None]


@pytest.fixture(params=["mongo", "sqlite", "postgresql"])
def deployment(request: pytest.FixtureRequest, make_app: MakeApp, tmp_path: Path) -> Deployment:
    """The sample records in a database of each kind."""
    if request.param == "mongo":
        environment = store_records("mongo", tmp_path, request)
        server: MongoServer = request.getfixturevalue("mongo_server")

        def drop() -> None:
            with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
                client.drop_database(environment["MONGODB_DATABASE"])

        return Deployment("mongo", lambda: make_app(NO_LIVEKIT | environment), drop)
    file = tmp_path / "webcall.db"
    in_file = request.param == "sqlite"
    url = f"sqlite:///{file}" if in_file else request.getfixturevalue("postgres_database")

    def lose() -> None:
        for path in tmp_path.glob("webcall.db*"):
            path.unlink()
        if not in_file:
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE")
                connection.execute("CREATE SCHEMA public")

    in_use = {"WEBCALL_VALIDATORS": "sql", "WEBCALL_STORES": "sql", "DATABASE_URL": url}
    stored = Deployment("sql", lambda: make_app(NO_LIVEKIT | in_use), lose)
    services = stored.start().extensions["webcall"]
    for side in ("validators", "stores"):
        services.side(side, "sql").prepare()
    for record in API_KEYS:
        services.side("validators", "sql").add_key(portable("key", record).record)
    for record in ASSISTANTS:
        services.side("stores", "sql").put_assistant(record)
    services.close()
    return stored


def works(app: Flask, api_key: str) -> bool:
    """Return whether a key is accepted over HTTP: an empty body is looked at behind that only."""
    status = app.test_client().post("/web_call/get_token", json={}, headers=bearer(api_key)).status_code
    assert status in (401, 422)
    return status == 422


def assistants_of(app: Flask, backend: str) -> dict[str, Record]:
    found = app.extensions["webcall"].side("stores", backend).list_assistants()
    return {one["assistant_id"]: portable("assistant", one).record for one in found}


def test_a_database_that_was_lost(deployment: Deployment, tmp_path: Path) -> None:
    """All that was there at the backup is there again, and nothing that came later, a revocation neither."""
    before = deployment.start()
    name, kept = deployment.backend, str(tmp_path / "kept.jsonl")
    stored = assistants_of(before, name)
    run_on(before)("records", "export", "--from", name, kept)
    services = before.extensions["webcall"]
    services.side("validators", name).update_key(hash_api_key(LISTED_KEY), {"is_active": False})
    late = {"assistant_id": "late", "assistant_created_by_email": OWNER}
    services.side("stores", name).put_assistant(late)
    assert [works(before, key) for key in (KEY, LISTED_KEY)] == [True, False]
    services.close()
    deployment.lose()

    after = deployment.start()
    run = run_on(after)
    run(name, "init")
    assert not works(after, KEY), "it is lost"
    assert "keys written" in run("records", "import", "--to", name, kept).stdout
    assert assistants_of(after, name) == stored
    assert [works(after, key) for key in (KEY, REVOKED_KEY, EXPIRED_KEY)] == [True, False, False]
    assert works(after, LISTED_KEY), "revoked after the backup: docs/operating.md says to revoke it again"
    assistant = after.extensions["webcall"].side("stores", name).get("helper", Caller(OWNER))
    assert assistant is not None


def test_a_copy_of_sqlite_that_is_in_use(tmp_path: Path, make_app: MakeApp) -> None:
    """A copy by SQLite's own backup has what was just written, and serves in the lost file's place."""
    file, copy = tmp_path / "webcall.db", tmp_path / "copy.db"
    in_use = {"WEBCALL_VALIDATORS": "sql", "WEBCALL_STORES": "sql", "DATABASE_URL": f"sqlite:///{file}"}
    app = make_app(NO_LIVEKIT | in_use)
    run_on(app)("sql", "init")
    services = app.extensions["webcall"]
    services.side("validators", "sql").add_key(
        {"api_key_hash": hash_api_key(KEY), "user_email": OWNER, "api_key_prefix": KEY[:12]}
    )
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
        # As `sqlite3 webcall.db ".backup copy.db"` does.
        source.backup(target)
    services.close()
    for path in tmp_path.glob("webcall.db*"):
        path.unlink()
    copy.rename(file)
    assert works(make_app(NO_LIVEKIT | in_use), KEY)
