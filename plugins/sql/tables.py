"""The tables: a record's whole JSON, and beside it, as columns, what is looked up.

The version of their shape stands in a table of its own, so that a later release can bring older tables on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    inspect,
    select,
    text,
)

from webcall import RecordError

# Ids are sorted and compared by code points, whatever the database's language: as `C` does on PostgreSQL,
# and SQLite's own BINARY.
_EXACT = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData()

KEYS = Table(
    "webcall_api_keys",
    metadata,
    Column("api_key_hash", _EXACT, primary_key=True),
    Column("record", JSON, nullable=False),
)

ASSISTANTS = Table(
    "webcall_assistants",
    metadata,
    Column("assistant_id", _EXACT, primary_key=True),
    Column("owner", _EXACT, nullable=False),
    Column("record", JSON, nullable=False),
    Index("webcall_assistants_by_owner", "owner", "assistant_id", unique=True),
)

VERSIONS = Table(
    "webcall_versions",
    metadata,
    Column("name", _EXACT, primary_key=True),
    Column("version", Integer, nullable=False),
)


def _to_1(connection: Connection, table: Table) -> None:
    """Bring tables without a version, made by hand or before there were versions, to version 1."""
    for index in table.indexes:
        index.create(connection, checkfirst=True)


STEPS: Mapping[int, Callable[[Connection, Table], None]] = {1: _to_1}
"""By version, what brings a table there from the version before. A new shape adds a step."""

VERSION = max(STEPS)


NO_TABLES = "the tables are not there: make them with `flask webcall sql init`"
FIXES = {NO_TABLES: "do that, if backends.sql.url names the right database"}
UNDEFINED_TABLE = "42P01"
"""PostgreSQL's state for tables that are not there."""

# Nothing longer is an id or an owner of a stored row.
LONGEST_VALUE = 1 << 20


class TooNew(Exception):
    """The tables are of a later release than this one."""


def version_of(connection: Connection, table: Table) -> int | None:
    """Return the version of a table; 0 if it has none, None if there is no such table."""
    names = inspect(connection).get_table_names()
    if table.name not in names:
        return None
    if VERSIONS.name not in names:
        return 0
    found = connection.scalar(select(VERSIONS.c.version).where(VERSIONS.c.name == table.name))
    return 0 if found is None else int(found)


def make(connection: Connection, table: Table) -> list[str]:
    """Make a table or bring it on, in a transaction that was begun; return a line for what was done.

    May be run by several processes at once. Raises `TooNew` for tables of a later release.
    """
    if connection.dialect.name == "postgresql":
        # Any number will do, the same in every process; it is given back at the transaction's end.
        connection.execute(text("SELECT pg_advisory_xact_lock(727283001)"))
    found = version_of(connection, table)
    lines = pending(found, table)
    VERSIONS.create(connection, checkfirst=True)
    if found is None:
        table.create(connection)
    for version in range((VERSION if found is None else found) + 1, VERSION + 1):
        STEPS[version](connection, table)
    if lines:
        connection.execute(VERSIONS.delete().where(VERSIONS.c.name == table.name))
        connection.execute(VERSIONS.insert().values(name=table.name, version=VERSION))
    return lines


def pending(found: int | None, table: Table) -> list[str]:
    """Return a line for what is to be done to a table of the version `found`. Raises `TooNew`."""
    if found is None:
        return [f"table {table.name}"]
    if found > VERSION:
        raise TooNew(
            f"the table {table.name} is of version {found}; this release knows {VERSION}: upgrade it"
        )
    return [f"table {table.name}: version {found} to {VERSION}"] if found < VERSION else []


def askable(value: str) -> bool:
    """Return whether a text can stand in a column: one that cannot is in no row either."""
    try:
        return "\0" not in value and len(value.encode()) <= LONGEST_VALUE
    except UnicodeEncodeError:
        return False


def read_record(stored: str | bytes) -> object:
    """Return what a stored JSON says; `RecordError` for what Python cannot read as such.

    SQLite takes any text from whoever writes by hand, and PostgreSQL numbers longer than Python's.
    """
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        raise RecordError("sql: a stored record is not JSON any more") from None
