"""Records keep every field on their way, and what a copy may not do it does not."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from plugins.env.lookups import EnvAssistants, EnvKeys
from plugins.file.assistants import FileAssistants
from plugins.file.keys import FileKeys
from plugins.mongo.assistants import MongoAssistants
from plugins.mongo.connection import Connection
from plugins.mongo.keys import MongoKeys
from plugins.sql.assistants import SqlAssistants
from plugins.sql.connection import Connection as SqlConnection
from plugins.sql.keys import SqlKeys
from tests.support.mongo import MongoServer
from webcall.core.moving import Moved, Mover
from webcall.core.portable import BackendSource, Entry, portable
from webcall.core.records_file import ImportSource, export_lines
from webcall.errors import BackendError
from webcall.interfaces import Record
from webcall.records import caller_from_record, hash_api_key, key_hash_of

OWNER = "ada@example.com"
HASH = hash_api_key("some key")

# What JSON, YAML and MongoDB all have a form for: no NUL in a name, no lone surrogates, 64 bits.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0.$"), min_size=1, max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
UNKNOWN = st.dictionaries(NAMES.map("x_".__add__), VALUES, max_size=4)


def a_key(number: int, unknown: Mapping[str, Any]) -> Record:
    return {"api_key_hash": f"{number:064x}", "user_email": OWNER, **unknown}


def an_assistant(number: int, unknown: Mapping[str, Any]) -> Record:
    return {"assistant_id": f"a{number}", "assistant_created_by_email": OWNER, "api_key": "own", **unknown}


Sides = tuple[Any, Any]


@contextmanager
def in_files() -> Iterator[Sides]:
    with tempfile.TemporaryDirectory() as folder:
        keys, assistants = Path(folder, "keys.yaml"), Path(folder, "assistants.yaml")
        yield FileKeys(keys, may_be_missing=True), FileAssistants(assistants, may_be_missing=True)


@contextmanager
def in_mongo(server: MongoServer) -> Iterator[Sides]:
    name = f"test_{uuid.uuid4().hex}"
    connection = Connection(server.uri, name, 10.0)
    yield MongoKeys(connection), MongoAssistants(connection)
    connection.close()
    with server.client() as client:
        client.drop_database(name)


@contextmanager
def in_sqlite() -> Iterator[Sides]:
    with tempfile.TemporaryDirectory() as folder:
        connection = SqlConnection(f"sqlite:///{folder}/kept.db", 10.0, 2)
        yield SqlKeys(connection), SqlAssistants(connection)
        connection.close()


def everything(sides: Sides) -> list[Entry]:
    return sorted(BackendSource(*sides).entries(), key=repr)


@given(st.lists(UNKNOWN, max_size=3), st.lists(UNKNOWN, max_size=3))
@examples(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_every_field_is_kept(
    mongo_server: MongoServer, for_keys: list[Record], for_assistants: list[Record]
) -> None:
    """From env through JSON lines to files, to MongoDB, to SQLite and back, nothing is lost or changed."""
    keys = [a_key(number, unknown) for number, unknown in enumerate(for_keys)]
    assistants = [an_assistant(number, unknown) for number, unknown in enumerate(for_assistants)]
    expected = everything((EnvKeys(keys), EnvAssistants(assistants)))
    assert [one.record for one in expected if one.kind == "key"] == sorted(keys, key=repr)
    with in_files() as files, in_mongo(mongo_server) as mongo, in_sqlite() as sqlite, in_files() as again:
        before: Sides = (EnvKeys(keys), EnvAssistants(assistants))
        for sides in (files, mongo, sqlite, again):
            lines = list(export_lines(BackendSource(*before)))
            moved = Mover(*sides).move(ImportSource(lambda lines=lines: lines))  # type: ignore[misc]
            assert moved.left_out == []
            # JSON, so that 1 and True, or 0.0 and -0.0, are not taken for each other.
            assert json.dumps(everything(sides)) == json.dumps(expected)
            before = sides


def test_a_publishable_key_stays_publishable() -> None:
    """An old plain key becomes hash and prefix, by which it is as restricted as before."""
    old = {"api_key": "lvp_" + "p" * 43, "api_key_prefix": None, "user_email": OWNER, "_id": 7}
    _, record, as_text = portable("key", old)
    assert record == {
        "api_key_hash": hash_api_key("lvp_" + "p" * 43),
        "api_key_prefix": "lvp_pppppppp",
        "user_email": OWNER,
    }
    assert not as_text
    assert caller_from_record(record) == caller_from_record(old)


class Keys:
    """Keys in a dictionary, as any backend keeps them."""

    def __init__(self, *records: Record) -> None:
        self.records = {str(key_hash_of(record)): dict(record) for record in records}

    def list_keys(self) -> Iterable[Record]:
        return list(self.records.values())

    def add_key(self, record: Record) -> None:
        self.records[record["api_key_hash"]] = dict(record)

    def update_key(self, key_hash: str, changes: Mapping[str, Any]) -> bool:
        changed = {**self.records.get(key_hash, {}), **changes}
        self.records[key_hash] = {name: value for name, value in changed.items() if value is not None}
        return True


def moved_onto(there: Record, given: Record, *, update: bool = False) -> tuple[Record, Moved]:
    target = Keys({"api_key_hash": HASH, "user_email": OWNER, **there})
    source = Keys({"api_key_hash": HASH, "user_email": OWNER, **given})
    moved = Mover(target, update=update).move(BackendSource(source))
    return target.records[HASH], moved


@pytest.mark.parametrize("no", [False, "false", 0, "off"])
@pytest.mark.parametrize("update", [False, True])
def test_whatever_means_no_is_a_no(no: object, update: bool) -> None:
    """Each spelling of "not active" that a look-up knows is carried over, and none is undone."""
    record, moved = moved_onto({"is_active": True}, {"is_active": no}, update=update)
    assert (record["is_active"], moved.counts) == (False, {"keys revoked": 1})
    record, moved = moved_onto({"is_active": no}, {"is_active": True, "x": 1}, update=update)
    assert (record["is_active"], len(moved.left_out)) == (no, 1)


SOON, LATER, PAST = "2090-01-01T00:00:00Z", datetime(2095, 1, 1, tzinfo=UTC), "2020-01-01"


@pytest.mark.parametrize(
    ("there", "given", "update", "ends", "outcome"),
    [
        (None, SOON, False, SOON, "ended earlier"),
        (LATER, SOON, False, SOON, "ended earlier"),
        (LATER, SOON, True, SOON, "updated"),
        (SOON, None, False, SOON, "left out"),
        (SOON, None, True, None, "updated"),
        (PAST, None, True, PAST, "left out"),
        (PAST, SOON, True, PAST, "left out"),
        (None, PAST, False, PAST, "ended earlier"),
        (PAST, "2021-01-01", True, PAST, "there already"),
    ],
)
def test_an_earlier_end_is_carried_over(
    there: Any, given: Any, update: bool, ends: Any, outcome: str
) -> None:
    """A key that ends earlier at the source does so at the target; one that has ended is never revived."""
    record, moved = moved_onto({"expires_at": there}, {"expires_at": given}, update=update)
    assert record.get("expires_at") == ends
    assert (list(moved.counts) or ["keys left out"]) == [f"keys {outcome}"]
    assert len(moved.left_out) == (outcome == "left out")
    record, moved = moved_onto({}, {"expires_at": SOON, "x": 1})
    assert (record["expires_at"], record.get("x"), len(moved.left_out)) == (SOON, None, 1)


def test_an_update_makes_it_the_same() -> None:
    """--update sets what is new, removes what is gone and leaves the state; then all is there already."""
    there, given = {"old": 1, "kept": 2}, {"new": 3, "kept": 2, "is_active": True, "empty": None}
    record, moved = moved_onto(there, given, update=True)
    assert record == {"api_key_hash": HASH, "user_email": OWNER, "new": 3, "kept": 2}
    assert moved.counts == {"keys updated": 1}
    _, again = moved_onto(record, given, update=True)
    assert again.counts == {"keys there already": 1}
    record, moved = moved_onto(there, given)
    assert record["old"] == 1
    assert [why for *_, why in moved.left_out] == [
        "the target has another record of this key; --update writes over it"
    ]


def test_what_json_has_no_form_for_is_told() -> None:
    """A time arrives as text, which means the same to a look-up, and the report counts its record."""
    ends = datetime(2030, 1, 31, tzinfo=UTC)
    target = Keys()
    moved = Mover(target).move(BackendSource(Keys({**a_key(1, {}), "expires_at": ends})))
    assert moved.counts == {"keys written": 1, "records with times, ids and the like that became text": 1}
    [record] = target.list_keys()
    assert record["expires_at"] == "2030-01-31T00:00:00Z"
    assert caller_from_record(record).expires_at == ends


def test_what_cannot_be_used_is_left_out_by_name() -> None:
    """An unusable record, and one that the target has no place for, are told; the others arrive."""
    target = Keys()
    odd = {**a_key(2, {}), "api_key": 5}
    source = BackendSource(Keys(a_key(1, {}), odd), EnvAssistants([an_assistant(1, {})]))
    moved = Mover(target).move(source)
    assert list(target.records) == [f"{1:064x}"]
    assert moved.left_out == [
        ("key", "0" * 12, "API key record: api_key: Not a valid string."),
        ("assistant", "a1", "the target keeps no assistants"),
    ]
    assert Mover(target, only="key").move(source).counts == {"keys there already": 1}


def test_an_interrupted_copy_is_completed_by_another() -> None:
    """What was written before an outage stays, and the second run brings the rest."""

    class Failing(Keys):
        def add_key(self, record: Record) -> None:
            if len(self.records) == 2:
                raise BackendError("down")
            super().add_key(record)

    source = BackendSource(Keys(*(a_key(number, {}) for number in range(5))))
    target = Failing()
    with pytest.raises(BackendError, match="down"):
        Mover(target).move(source)
    completed = Keys(*target.list_keys())
    assert Mover(completed).move(source).counts == {"keys there already": 2, "keys written": 3}
