"""Tables: made, brought on, asked by their indexes, shared by processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

from plugins.sql.assistants import SqlAssistants
from plugins.sql.connection import Connection
from plugins.sql.keys import SqlKeys
from plugins.sql.tables import ASSISTANTS, KEYS, VERSION, VERSIONS
from tests.support.deployment import ROOT
from webcall.errors import BackendError, Conflict, RecordError
from webcall.interfaces import Caller

ADA = "ada@example.com"


@pytest.fixture
def make(url: str, request: pytest.FixtureRequest) -> Callable[[type[Any]], Any]:
    def make(side: type[Any]) -> Any:
        made = side(Connection(url, timeout_s=10, pool_size=8))
        request.addfinalizer(made.close)
        return made

    return make


def assistant(assistant_id: str, owner: str = ADA, **fields: Any) -> dict[str, Any]:
    return {"assistant_id": assistant_id, "assistant_created_by_email": owner, **fields}


def test_every_look_up_has_an_index(make: Callable[[type[Any]], Any]) -> None:
    """With 20,000 rows the database's own plan reads an index for a key, an id, and an owner's page."""
    keys, assistants = make(SqlKeys), make(SqlAssistants)
    keys.prepare()
    assistants.prepare()
    with keys._connection.writing() as session:
        rows = [{"api_key_hash": f"{n:064x}", "record": {}} for n in range(20_000)]
        session.execute(insert(KEYS), rows)
        shelf = [{"assistant_id": f"a{n}", "owner": f"o{n % 100}", "record": {}} for n in range(20_000)]
        session.execute(insert(ASSISTANTS), shelf)
        session.execute(text("ANALYZE"))
    asked: list[Any] = []
    for side in (keys, assistants):
        side._connection.read = _recording(side._connection, asked)
    keys.validate("lvk_unknown")
    assistants.get("a7", Caller(ADA))
    assistants.page_of_assistants(Caller("o7"), "a5", 20)
    assert len(asked) == 3
    dialect = sqlite.dialect() if keys._connection.sqlite else postgresql.dialect()
    explain = "EXPLAIN QUERY PLAN" if keys._connection.sqlite else "EXPLAIN"
    for statement in asked:
        compiled = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        with keys._connection._pool().engine.connect() as session:
            plan = " ".join(str(row) for row in session.execute(text(f"{explain} {compiled}")))
        assert "USING INDEX" in plan or "Index Scan" in plan
        assert "Seq Scan" not in plan
        assert "SCAN webcall" not in plan
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan


def test_a_look_up_begins_no_transaction(make: Callable[[type[Any]], Any]) -> None:
    """Nothing goes to the server beside the statement, and no lock is left behind."""
    keys = make(SqlKeys)
    keys.prepare()

    def ask(session: Any) -> bool:
        session.execute(select(KEYS)).first()
        driver = session.connection.driver_connection
        return bool(driver.in_transaction if keys._connection.sqlite else driver.info.transaction_status)

    assert not keys._connection.read(ask)


def _recording(connection: Connection, asked: list[Any]) -> Any:
    """Return `Connection.read` that notes each statement: one for each look-up."""

    def read(ask: Any) -> Any:
        class Spy:
            def __init__(self, session: Any) -> None:
                self._session = session

            def execute(self, statement: Any) -> Any:
                asked.append(statement)
                return self._session.execute(statement)

            def scalars(self, statement: Any) -> Any:
                asked.append(statement)
                return self._session.scalars(statement)

        return Connection.read(connection, lambda session: ask(Spy(session)))

    return read


def test_older_tables_are_brought_on(make: Callable[[type[Any]], Any]) -> None:
    """Tables of before there were versions keep their rows and get what is missing; then all is there."""
    assistants = make(SqlAssistants)
    if assistants._connection.sqlite:
        assistants._connection.prepare(KEYS)
    with assistants._connection.writing() as session:
        columns = "assistant_id TEXT PRIMARY KEY, owner TEXT NOT NULL, record JSON NOT NULL"
        if not assistants._connection.sqlite:
            columns = columns.replace("TEXT", 'TEXT COLLATE "C"')
        session.execute(text(f"CREATE TABLE webcall_assistants ({columns})"))
        row = {"assistant_id": "old", "owner": ADA, "record": assistant("old", extra=[1])}
        session.execute(insert(ASSISTANTS), [row])
    assert assistants.unprepared() == [f"table webcall_assistants: version 0 to {VERSION}"]
    assert assistants.prepare() == [f"table webcall_assistants: version 0 to {VERSION}"]
    assert assistants.unprepared() == assistants.prepare() == []
    found = assistants.get("old", Caller(ADA))
    assert found is not None
    assert found.record["extra"] == [1]


def test_tables_of_a_later_release_are_left_alone(make: Callable[[type[Any]], Any]) -> None:
    """An older release says that it is too old, and changes nothing."""
    keys = make(SqlKeys)
    keys.prepare()
    with keys._connection.writing() as session:
        session.execute(VERSIONS.update().values(version=VERSION + 1))
    for act in (keys.prepare, keys.unprepared):
        with pytest.raises(BackendError, match="upgrade"):
            act()
    with keys._connection.writing() as session:
        assert session.scalar(select(VERSIONS.c.version)) == VERSION + 1


def test_processes_may_make_the_tables_at_once(url: str) -> None:
    """Four processes that prepare one database at the same time all succeed, and one makes the table."""
    code = (
        "import sys; from plugins.sql.connection import Connection; from plugins.sql.keys import SqlKeys\n"
        "sys.stdin.readline(); print(SqlKeys(Connection(sys.argv[1], 10, 2)).prepare())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT, text=True, stdin=-1, stdout=-1)
        for _ in range(4)
    ]
    told = []
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda process: process.communicate("\n", timeout=60)[0].strip(), running))
    assert sorted(told) == ["['table webcall_api_keys']", "[]", "[]", "[]"]


def test_processes_share_the_tables(url: str, make: Callable[[type[Any]], Any]) -> None:
    """What several processes write at the same time is all there, and each reads the others' at once."""
    code = (
        "import sys; from plugins.sql.connection import Connection; from plugins.sql.keys import SqlKeys\n"
        "keys = SqlKeys(Connection(sys.argv[1], 20, 2)); sys.stdin.readline()\n"
        "for n in range(40):\n"
        "    key_hash = f'{sys.argv[2]}{n:02}' + 'a' * 61\n"
        "    keys.add_key({'api_key_hash': key_hash, 'user_email': 'ada@example.com'})\n"
        "    assert keys.update_key(key_hash, {'note': n})\n"
    )
    keys = make(SqlKeys)
    keys.prepare()
    writers = [
        subprocess.Popen([sys.executable, "-c", code, url, str(n)], cwd=ROOT, text=True, stdin=-1)
        for n in range(3)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        keys.validate("lvk_unknown")
    for writer in writers:
        writer.communicate()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert sorted(record["note"] for record in keys.list_keys()) == sorted([*range(40)] * 3)


def test_two_owners_cannot_both_have_an_id(make: Callable[[type[Any]], Any]) -> None:
    """Of many puts of one id at once, by two owners, one owner's go in and the other's are conflicts."""
    assistants = make(SqlAssistants)
    assistants.prepare()

    def put(number: int) -> str:
        owner = (ADA, "eve@example.com")[number % 2]
        try:
            assistants.put_assistant(assistant("wanted", owner, turn=number))
        except Conflict:
            return "conflict"
        return owner

    with ThreadPoolExecutor(8) as pool:
        told = set(pool.map(put, range(32)))
    owner = assistants.find_assistant("wanted")["assistant_created_by_email"]
    assert told == {"conflict", owner}


def test_changes_at_once_are_all_kept(make: Callable[[type[Any]], Any]) -> None:
    """Fields that many threads set in one key's record at the same time are all there afterwards."""
    keys = make(SqlKeys)
    keys.add_key({"api_key_hash": "a" * 64, "user_email": ADA})
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda n: keys.update_key("a" * 64, {f"field_{n}": n}), range(24)))
    [record] = keys.list_keys()
    assert {name for name in record if name.startswith("field_")} == {f"field_{n}" for n in range(24)}


@pytest.mark.parametrize("value", ["nul \0 in it", "lone \udc80", 2**70, "Grüße 你好", {"b": 1, "a": [None]}])
def test_what_json_can_say_comes_back(make: Callable[[type[Any]], Any], value: Any) -> None:
    """Values that databases are known to choke on come back as they were, in their order."""
    assistants = make(SqlAssistants)
    assistants.put_assistant(assistant("odd", extra=value))
    found = assistants.find_assistant("odd")
    assert found["extra"] == value
    assert repr(found["extra"]) == repr(value)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("'{'", "not JSON any more"),
        ("x'ff7b'", "not JSON any more"),
        ("CAST(x'7bff' AS TEXT)", "not UTF-8 any more"),
        (f"""'{{"a": {"1" * 5000}}}'""", "not JSON any more"),
        (f"""'{{"a": {"[" * 100_000}'""", "not JSON any more"),
    ],
    ids=["text", "bytes", "no UTF-8", "a long number", "deep"],
)
def test_a_record_that_somebody_broke_is_no_outage(tmp_path: Path, broken: str, told: str) -> None:
    """SQLite takes any text into a row: that one cannot be used, and says so; the others are served."""
    connection = Connection(f"sqlite:///{tmp_path / 'kept.db'}", timeout_s=10, pool_size=8)
    assistants, keys = SqlAssistants(connection), SqlKeys(connection)
    for assistant_id in ("broken", "whole"):
        assistants.put_assistant(assistant(assistant_id))
    keys.add_key({"api_key_hash": "a" * 64, "user_email": ADA})
    with connection.writing() as session:
        for table, row in (("assistants", "assistant_id = 'broken'"), ("api_keys", "true")):
            session.execute(text(f"UPDATE webcall_{table} SET record = {broken} WHERE {row}"))
    ada = Caller(email=ADA)
    assert assistants.get("whole", ada) is not None
    assert [assistants.ping(), keys.ping()] == [None, None]
    asked: list[Callable[[], object]] = [
        lambda: assistants.get("broken", ada),
        lambda: assistants.page_of_assistants(ada, "", 10),
        lambda: list(assistants.list_assistants()),
        lambda: list(keys.list_keys()),
        lambda: keys.update_key("a" * 64, {"is_active": False}),
    ]
    for ask in asked:
        with pytest.raises(RecordError, match=told):
            ask()
    connection.close()


def test_a_listing_goes_on_past_its_batches(make: Callable[[type[Any]], Any]) -> None:
    """Every record is listed once, however many batches that takes."""
    assistants = make(SqlAssistants)
    assistants.prepare()
    rows = [{"assistant_id": f"{n:05}", "owner": ADA, "record": assistant(f"{n:05}")} for n in range(1100)]
    with assistants._connection.writing() as session:
        session.execute(insert(ASSISTANTS), rows)
    assert [record["assistant_id"] for record in assistants.list_assistants()] == [
        f"{n:05}" for n in range(1100)
    ]
