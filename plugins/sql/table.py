"""What both sides do alike: one table of one database."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Row, Select, Table, select

from plugins.sql.connection import Connection
from webcall import RecordError
from webcall.interfaces import Record

BATCH = 500


class TableOfRecords:
    """A table whose column `record` holds whole records, under one unique text each."""

    TABLE: Table

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._prepared = False

    def ping(self) -> str | None:
        """Raise `BackendError` if the table cannot be read."""
        self._connection.ping(self.TABLE)
        return None

    def close(self) -> None:
        """Close the connections of this process."""
        self._connection.close()

    def prepare(self) -> list[str]:
        """Make the table or bring it to this release's version; return a line for what was done."""
        return self._connection.prepare(self.TABLE)

    def unprepared(self) -> list[str]:
        """Return a line for what `prepare` would do."""
        return self._connection.unprepared(self.TABLE)

    def _prepared_once(self) -> None:
        if not self._prepared:
            self.prepare()
            self._prepared = True

    def _one(self, query: Select[tuple[object]]) -> dict[str, object] | None:
        """Return the record that a query for one finds; `RecordError` if somebody broke it."""
        row = self._connection.read(lambda session: session.execute(query).first())
        return None if row is None else _whole(row)

    def _all(self) -> Iterator[Record]:
        """Yield every record, some hundred at a time, each time from where the last ended."""
        [key] = self.TABLE.primary_key.columns
        after = ""
        while True:
            query = select(key, self.TABLE.c.record).where(key > after).order_by(key).limit(BATCH)
            rows = self._connection.read(lambda session, query=query: list(session.execute(query)))  # type: ignore[misc]
            for row in rows:
                yield _whole(row)
            if len(rows) < BATCH:
                return
            after = rows[-1][0]


def _whole(row: Row[tuple[object]] | Row[tuple[object, object]]) -> dict[str, object]:
    record = row[-1]
    if not isinstance(record, dict):
        raise RecordError("a stored record is not an object any more")
    return record
