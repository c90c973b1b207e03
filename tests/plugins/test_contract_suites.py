"""The contract suites over every backend that comes with the service."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.company import SECRET, ExampleServer
from tests.support.mongo import MongoServer
from tests.support.oidc import ScriptedProvider
from tests.support.programs import free_port
from tests.support.tokens import AUDIENCE, FORGED, claims_of, key_set, token
from webcall.interfaces import Caller
from webcall.records import as_json_value
from webcall.testing import AssistantStoreContract, KeyValidatorContract, Logins, LoginValidatorContract

Records = list[dict[str, Any]]
Load = Callable[..., Any]

HOOKS = {"keys": "webcall_key_validators", "assistants": "webcall_assistant_stores"}


@pytest.fixture
def load() -> Iterator[Load]:
    """Return a function that makes a backend's side the way the service does, from its settings."""
    made: list[Any] = []

    def load(name: str, side: str, settings: dict[str, Any]) -> Any:
        [backend] = getattr(importlib.import_module(f"plugins.{name}"), HOOKS[side])()
        made.append(backend.factory(backend.settings_schema().load(settings)))
        return made[-1]

    yield load
    for backend in made:
        if hasattr(backend, "close"):
            backend.close()


@pytest.fixture
def from_env(load: Load, monkeypatch: pytest.MonkeyPatch) -> Load:
    def make(side: str, records: Records) -> Any:
        variable = "WEBCALL_API_KEYS" if side == "keys" else "WEBCALL_ASSISTANTS"
        monkeypatch.setenv(variable, json.dumps(records))
        return load("env", side, {})

    return make


@pytest.fixture
def from_file(load: Load, tmp_path: Any) -> Load:
    paths = {"api_keys": str(tmp_path / "keys.json"), "assistants": str(tmp_path / "assistants.json")}

    def make(side: str, records: Records | None) -> Any:
        if records is not None:
            path = tmp_path / ("keys.json" if side == "keys" else "assistants.json")
            path.write_text(json.dumps(records), encoding="utf-8")
        return load("file", side, paths)

    return make


@pytest.fixture
def from_mongo(load: Load, mongo_server: MongoServer, mongo_database: str) -> Load:
    def make(side: str, records: Records) -> Any:
        with mongo_server.client() as client:
            if records:
                client[mongo_database]["api_keys" if side == "keys" else side].insert_many(records)
        return load("mongo", side, {"uri": mongo_server.uri, "database": mongo_database, "timeout_s": 10})

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def from_sql(load: Load, tmp_path: Any, request: pytest.FixtureRequest) -> Load:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path / 'kept.db'}" if sqlite else request.getfixturevalue("postgres_database")

    def make(side: str, records: Records) -> Any:
        made = load("sql", side, {"url": url, "timeout_s": 10})
        name = "api_key_hash" if side == "keys" else "assistant_id"
        if len({record.get(name) for record in records}) < len(records) or any(
            not record.get(name) for record in records
        ):
            return None  # a plain key, or one id twice
        made.prepare()
        rows = [{name: record[name], "record": as_json_value(record)} for record in records]
        if side == "assistants":
            rows = [row | {"owner": row["record"]["assistant_created_by_email"]} for row in rows]
        if rows:
            with made._connection.writing() as session:
                session.execute(made.TABLE.insert(), rows)
        return made

    return make


@pytest.fixture
def from_company(load: Load, tmp_path: Any) -> Iterator[Load]:
    """The example server of the docs, as it stands there."""
    started: list[ExampleServer] = []

    def make(side: str, records: Records) -> Any:
        name = "api_key_hash" if side == "keys" else "assistant_id"
        if not all(record.get(name) for record in records):
            return None  # a plain key: the example knows hashes
        server = ExampleServer(tmp_path, {side: {str(record.get(name)): record for record in records}})
        server.start()
        started.append(server)
        return load("http", side, {"url": server.url, "secret": SECRET, "timeout_s": 10})

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def nowhere() -> dict[str, Any]:
    """Return the settings of a MongoDB that is down."""
    return {"uri": f"mongodb://127.0.0.1:{free_port()}", "timeout_s": 0.2}


class TestEnvKeys(KeyValidatorContract):
    @pytest.fixture
    def make_validator(self, from_env: Load) -> Load:
        return lambda records: from_env("keys", records)


class TestEnvAssistants(AssistantStoreContract):
    @pytest.fixture
    def make_store(self, from_env: Load) -> Load:
        return lambda records: from_env("assistants", records)


class TestFileKeys(KeyValidatorContract):
    @pytest.fixture
    def make_validator(self, from_file: Load) -> Load:
        return lambda records: from_file("keys", records)

    @pytest.fixture
    def broken_validator(self, from_file: Load) -> Any:
        return from_file("keys", None)


class TestFileAssistants(AssistantStoreContract):
    @pytest.fixture
    def make_store(self, from_file: Load) -> Load:
        return lambda records: from_file("assistants", records)

    @pytest.fixture
    def broken_store(self, from_file: Load) -> Any:
        return from_file("assistants", None)


class TestMongoKeys(KeyValidatorContract):
    @pytest.fixture
    def make_validator(self, from_mongo: Load) -> Load:
        return lambda records: from_mongo("keys", [dict(record) for record in records])

    @pytest.fixture
    def broken_validator(self, load: Load, nowhere: dict[str, Any]) -> Any:
        return load("mongo", "keys", nowhere)


class TestMongoAssistants(AssistantStoreContract):
    @pytest.fixture
    def make_store(self, from_mongo: Load) -> Load:
        return lambda records: from_mongo("assistants", [dict(record) for record in records])

    @pytest.fixture
    def broken_store(self, load: Load, nowhere: dict[str, Any]) -> Any:
        return load("mongo", "assistants", nowhere)


class TestSqlKeys(KeyValidatorContract):
    @pytest.fixture
    def make_validator(self, from_sql: Load) -> Load:
        return lambda records: from_sql("keys", records)

    @pytest.fixture
    def broken_validator(self, load: Load) -> Any:
        return load("sql", "keys", {"url": f"postgresql://127.0.0.1:{free_port()}/nothing", "timeout_s": 1})


class TestSqlAssistants(AssistantStoreContract):
    @pytest.fixture
    def make_store(self, from_sql: Load) -> Load:
        return lambda records: from_sql("assistants", records)

    @pytest.fixture
    def broken_store(self, load: Load, tmp_path: Any) -> Any:
        return load("sql", "assistants", {"url": f"sqlite:///{tmp_path / 'without-tables.db'}"})


class TestHttpKeys(KeyValidatorContract):
    @pytest.fixture
    def make_validator(self, from_company: Load) -> Load:
        return lambda records: from_company("keys", records)

    @pytest.fixture
    def broken_validator(self, load: Load) -> Any:
        return load("http", "keys", {"url": f"http://127.0.0.1:{free_port()}", "secret": SECRET})


class TestHttpAssistants(AssistantStoreContract):
    @pytest.fixture
    def make_store(self, from_company: Load) -> Load:
        return lambda records: from_company("assistants", records)

    @pytest.fixture
    def broken_store(self, load: Load) -> Any:
        return load("http", "assistants", {"url": f"http://127.0.0.1:{free_port()}", "secret": SECRET})


class TestJwtLogins(LoginValidatorContract):
    @pytest.fixture
    def logins(self, load: Load, scripted_provider: ScriptedProvider) -> Logins:
        scripted_provider.keys = key_set()
        issuer = scripted_provider.issuer
        settings = {"issuer": issuer, "audience": AUDIENCE, "leeway_s": 0, "claims": {"org": "org"}}
        ends = claims_of(issuer)["exp"]
        people = [("1", "ada@example.com", "Engines"), ("2", "eve@example.com", None)]
        known = {}
        for subject, email, org in people:
            claims = claims_of(issuer, sub=subject, email=email, org=org, exp=ends)
            known[token(issuer, **claims)] = Caller(
                email=email,
                org=org,
                key_id=f"jwt:{hashlib.sha256(subject.encode()).hexdigest()[:8]}",
                subject=subject,
                claims=claims,
                expires_at=datetime.fromtimestamp(ends, UTC),
            )
        return Logins(
            validator=load("jwt", "keys", settings),
            known=known,
            renewed=token(issuer, sub="1", exp=ends + 60),
            refused={name: forge(issuer, f"{issuer}/evil") for name, forge in FORGED.items()},
        )

    @pytest.fixture
    def broken_validator(self, load: Load, scripted_provider: ScriptedProvider) -> Any:
        # Its keys cannot be fetched from where nobody listens.
        nowhere = f"http://127.0.0.1:{free_port()}"
        settings = {"issuer": scripted_provider.issuer, "audience": AUDIENCE, "jwks_url": nowhere}
        return load("jwt", "keys", settings)
