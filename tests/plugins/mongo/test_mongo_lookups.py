"""What the backend `mongo` asks of the server, and how it reads an existing deployment's documents."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pymongo
import pytest
from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo.monitoring import CommandListener

import plugins.mongo.connection
from plugins.mongo.assistants import MongoAssistants
from plugins.mongo.connection import Connection
from plugins.mongo.keys import MongoKeys
from tests.support.mongo import MongoServer
from webcall import BackendError, Caller, Conflict, RecordError, Refused
from webcall.records import as_json_value, caller_from_record, hash_api_key

ADA = Caller(email="ada@example.com")
OWN = {"assistant_id": "a", "assistant_created_by_email": ADA.email}


class Commands(CommandListener):
    """Keeps every command that is sent but those of connecting."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def started(self, event: Any) -> None:
        self.sent.append(event.command)

    def succeeded(self, event: Any) -> None: ...

    def failed(self, event: Any) -> None: ...


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    listener = Commands()
    client = functools.partial(pymongo.MongoClient, event_listeners=[listener])
    monkeypatch.setattr(plugins.mongo.connection, "MongoClient", client)
    return listener


@pytest.fixture
def database(mongo_server: MongoServer, mongo_database: str) -> Iterator[Any]:
    with mongo_server.client() as client:
        yield client[mongo_database]


@pytest.fixture
def keys(mongo_server: MongoServer, mongo_database: str) -> Iterator[MongoKeys]:
    made = MongoKeys(Connection(mongo_server.uri, mongo_database, 10))
    yield made
    made.close()


@pytest.fixture
def assistants(mongo_server: MongoServer, mongo_database: str) -> Iterator[MongoAssistants]:
    made = MongoAssistants(Connection(mongo_server.uri, mongo_database, 10))
    yield made
    made.close()


def uses_index(database: Any, command: Any) -> bool:
    """Return whether the server plans this very `find` with an index."""
    cursor = database[command["find"]].find(command["filter"], command.get("projection"))
    if command.get("sort"):
        cursor = cursor.sort(list(command["sort"].items()))
    plan = str(cursor.explain()["queryPlanner"]["winningPlan"])
    assert any(word in plan for word in ("SCAN", "SEARCH")), plan
    return "IXSCAN" in plan or "EXPRESS" in plan or f"SEARCH {command['find']} USING INDEX" in plan


def test_every_look_up_uses_an_index(
    commands: Commands, keys: MongoKeys, assistants: MongoAssistants, database: Any
) -> None:
    """After `prepare` the server answers each command that a look-up sends with an index."""
    database.api_keys.insert_one({"api_key": "other", "user_email": "x"})
    database.assistants.insert_one(dict(OWN))
    keys.validate("unknown")
    assistants.get("unknown", ADA)
    assistants.page_of_assistants(ADA, "", 10)
    before = list(commands.sent)
    assert [uses_index(database, command) for command in before] == [False] * 4
    keys.prepare()
    assistants.prepare()
    assert [uses_index(database, command) for command in before] == [True] * 4


def test_a_page_reads_no_more_than_a_page(
    commands: Commands, assistants: MongoAssistants, database: Any
) -> None:
    """Of an owner's thousand documents a page fetches one batch of about its size, unsorted by the server."""
    assistants.prepare()
    database.assistants.insert_many(
        [{**OWN, "assistant_id": f"{number:04}", "padding": "x" * 100} for number in range(1000)]
    )
    database.assistants.insert_one({**OWN, "assistant_id": 7})
    database.assistants.insert_one({**OWN, "assistant_id": "eve", "assistant_created_by_email": [ADA.email]})
    before = len(commands.sent)
    page = assistants.page_of_assistants(ADA, "0499", 20)
    assert [one["assistant_id"] for one in page] == [f"{number:04}" for number in range(500, 520)]
    find, *rest = commands.sent[before:]
    assert find["batchSize"] == 21
    assert all(next(iter(command)) == "killCursors" for command in rest)
    plan = str(database.assistants.find(find["filter"]).sort(list(find["sort"].items())).explain())
    assert "SORT" not in plan.replace("SORT_MERGE", "")
    assert "TEMP B-TREE" not in plan
    assert [one["assistant_id"] for one in assistants.page_of_assistants(ADA, "0998", 20)] == ["0999"]


def test_look_ups_cost_what_they_must(
    commands: Commands, keys: MongoKeys, assistants: MongoAssistants, database: Any
) -> None:
    """One command for a hashed key and for any assistant, two for an old or an unknown key."""
    database.api_keys.insert_many(
        [
            {"api_key_hash": hash_api_key("hashed"), "user_email": ADA.email},
            {"api_key": "plain", "user_email": ADA.email},
        ]
    )
    database.assistants.insert_many([dict(OWN), {**OWN, "assistant_id": "b", "assistant_is_active": False}])
    eve = Caller(email="eve@example.com")
    asked = {
        "hashed": lambda: keys.validate("hashed"),
        "plain": lambda: keys.validate("plain"),
        "unknown": lambda: keys.validate("unknown"),
        "own": lambda: assistants.get("a", ADA),
        "another's": lambda: assistants.get("a", eve),
        "unknown assistant": lambda: assistants.get("c", eve),
    }
    counts = {}
    for name, ask in asked.items():
        before = len(commands.sent)
        ask()
        counts[name] = [next(iter(command)) for command in commands.sent[before:]]
    assert counts == {
        "hashed": ["find"],
        "plain": ["find", "find"],
        "unknown": ["find", "find"],
        "own": ["find"],
        "another's": ["find"],
        "unknown assistant": ["find"],
    }


def test_only_needed_fields_of_a_key_are_fetched(commands: Commands, keys: MongoKeys, database: Any) -> None:
    """A key's look-up asks for the fields that it reads, and bounds the server's time."""
    keys.validate("unknown")
    for command in commands.sent:
        assert command["projection"]["user_email"] == 1
        assert "created_at" not in command["projection"]
        assert 0 < command["maxTimeMS"] <= 10_000


def test_existing_documents_are_read_as_they_are(
    keys: MongoKeys, assistants: MongoAssistants, database: Any
) -> None:
    """ObjectIds, datetimes, plain keys, missing and additional fields need no migration."""
    now = datetime.now(UTC)
    database.api_keys.insert_many(
        [
            {"api_key": "old", "user_email": ADA.email, "created_at": now, "usage": {"count": 3}},
            {"api_key": "valid", "user_email": ADA.email, "expires_at": now + timedelta(hours=1)},
            {"api_key": "expired", "user_email": ADA.email, "expires_at": now - timedelta(hours=1)},
            {"api_key": "stale", "api_key_hash": hash_api_key("rotated"), "user_email": ADA.email},
        ]
    )
    database.assistants.insert_one({**OWN, "assistant_created_at": now, "tools": [ObjectId()]})
    assert keys.validate("old") == Caller(email=ADA.email, key_id=hash_api_key("old")[:12])
    assert keys.validate("valid") is not None
    assert keys.validate("rotated") is not None
    assert keys.validate("stale") is None
    with pytest.raises(Refused):
        keys.validate("expired")
    found = assistants.get("a", ADA)
    assert found is not None
    assert found.mode == "pipeline"
    assert ObjectId.is_valid(as_json_value(found.record)["tools"][0])
    assert found.record["assistant_created_at"].tzinfo is not None


def test_date_past_the_calendar_does_not_break_a_key() -> None:
    """An expiry past the year 9999, which Python's calendar cannot hold, is far away and no failure."""
    # Decoded without a server: not every compatible one can store such a date.
    stored = {"api_key": "far", "user_email": ADA.email, "expires_at": DatetimeMS(8_640_000_000_000_000)}
    options = Connection("mongodb://127.0.0.1:1", "webcall", 1).collection("api_keys").codec_options
    assert caller_from_record(bson.decode(bson.encode(stored), options)).email == ADA.email


def test_same_id_of_two_owners_is_each_owners_own(assistants: MongoAssistants, database: Any) -> None:
    """Where an existing deployment has an id twice, each owner gets the own one, and neither is deleted."""
    eve = Caller(email="eve@example.com")
    database.assistants.insert_many([{**OWN, "assistant_created_by_email": eve.email}, dict(OWN)])
    assert [getattr(assistants.get("a", one), "owner", None) for one in (ADA, eve)] == [ADA.email, eve.email]
    with pytest.raises(Conflict):
        assistants.delete_assistant("a")
    with pytest.raises(BackendError, match="assistants: documents share one assistant_id"):
        assistants.put_assistant({**OWN, "assistant_id": "b"})


def test_indexes_are_told_by_their_fields(
    keys: MongoKeys, assistants: MongoAssistants, database: Any
) -> None:
    """What `unprepared` lists is what `prepare` makes, whatever names the server gives."""
    database.api_keys.create_index("api_key", name="somebody_elses_name")
    lines = ["api_keys: unique index on api_key_hash", "api_keys: index on api_key_prefix"]
    assert keys.unprepared() == lines
    assert keys.prepare() == lines
    assert (keys.unprepared(), keys.prepare()) == ([], [])
    assert assistants.prepare() == [
        "assistants: unique index on assistant_id",
        "assistants: index on assistant_created_by_email, assistant_id",
    ]


def test_index_that_is_not_unique_is_told_with_the_mend(assistants: MongoAssistants, database: Any) -> None:
    """An older index that allows an id twice is not taken for the unique one."""
    database.assistants.create_index("assistant_id")
    assert assistants.unprepared()[0] == "assistants: unique index on assistant_id"
    with pytest.raises(BackendError, match=r"is not unique .* drop it"):
        assistants.put_assistant(OWN)


def test_first_write_prepares(commands: Commands, keys: MongoKeys, assistants: MongoAssistants) -> None:
    """The first record of a process makes the indexes; the second one does not look for them again."""
    keys.add_key({"api_key_hash": hash_api_key("one"), "user_email": ADA.email})
    assistants.put_assistant(OWN)
    assert (keys.unprepared(), assistants.unprepared()) == ([], [])
    before = len(commands.sent)
    keys.add_key({"api_key_hash": hash_api_key("two"), "user_email": ADA.email})
    assistants.put_assistant(OWN)
    assert [next(iter(command)) for command in commands.sent[before:]] == ["insert", "update"]


def test_replaced_assistant_keeps_its_object_id(assistants: MongoAssistants, database: Any) -> None:
    """A document that is read, edited and put again stays the same document for others that refer to it."""
    inserted = database.assistants.insert_one(dict(OWN)).inserted_id
    read = assistants.find_assistant("a")
    assert read is not None
    assistants.put_assistant({**as_json_value(read), "assistant_prompt": "new"})
    [document] = assistants.list_assistants()
    assert (document["_id"], document["assistant_prompt"]) == (inserted, "new")


def test_plain_key_that_stands_there_twice_is_revoked_twice(keys: MongoKeys, database: Any) -> None:
    """Revoking an old plain key revokes every document that holds it."""
    database.api_keys.insert_many([{"api_key": "old", "user_email": ADA.email} for _ in range(2)])
    assert keys.update_key(hash_api_key("old"), {"is_active": False})
    assert [document["is_active"] for document in keys.list_keys()] == [False, False]


def test_update_never_gives_two_keys_one_hash(keys: MongoKeys) -> None:
    """A key cannot take another one's hash; changes of nothing only tell whether the key is there."""
    one, two = hash_api_key("one"), hash_api_key("two")
    for key_hash in (one, two):
        keys.add_key({"api_key_hash": key_hash, "user_email": ADA.email})
    with pytest.raises(Conflict):
        keys.update_key(one, {"api_key_hash": two})
    assert keys.validate("one") is not None
    assert keys.update_key(one, {})
    with pytest.raises(RecordError, match="never stored in plain"):
        keys.update_key(one, {"api_key": "one"})


@pytest.mark.parametrize("value", [{1, 2}, 1 << 70, "\udc80"], ids=["set", "huge-number", "surrogate"])
def test_value_that_mongodb_cannot_hold_is_told(assistants: MongoAssistants, value: Any) -> None:
    """A record with a value that has no form in MongoDB is refused, and the value is not quoted."""
    with pytest.raises(RecordError, match="cannot be stored in MongoDB") as caught:
        assistants.put_assistant({**OWN, "extra": value})
    assert str(value) not in str(caught.value)


def test_child_of_a_fork_has_a_client_of_its_own(keys: MongoKeys, database: Any) -> None:
    """After a fork a used object works in both processes, and the child has its own connections."""
    database.api_keys.insert_one({"api_key_hash": hash_api_key("key"), "user_email": ADA.email})
    assert keys.validate("key") is not None
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: the driver's threads run
        child = os.fork()
    if child == 0:
        told = b"failed"
        try:
            own = keys.validate("key") == Caller(email=ADA.email, key_id=hash_api_key("key")[:12])
            clients = keys._connection._clients
            told = b"ok" if own and len({id(client) for client in clients.values()}) == 2 else b"shared"
            keys.close()
        finally:
            os.write(writing, told)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"ok"
    os.waitpid(child, 0)
    assert keys.validate("key") is not None
