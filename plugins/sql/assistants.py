"""Assistants in the table `webcall_assistants`."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from plugins.sql.table import TableOfRecords
from plugins.sql.tables import ASSISTANTS, askable
from webcall import Assistant, Caller, Conflict, RecordError
from webcall.interfaces import Record
from webcall.records import as_json_value, assistant_for, check_assistant_record

ID, OWNER = "assistant_id", "assistant_created_by_email"


class SqlAssistants(TableOfRecords):
    """Knows the assistants of one database."""

    TABLE = ASSISTANTS

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        """Return the caller's own assistant, or None; raises `Refused` if it is inactive.

        One statement, by the primary key, whatever the answer. `BackendError` for an outage.
        """
        record = self.find_assistant(assistant_id)
        return None if record is None else assistant_for(caller, record)

    def find_assistant(self, assistant_id: str) -> Record | None:
        """Return the record, whoever owns it."""
        if not askable(assistant_id):
            return None
        return self._one(select(ASSISTANTS.c.record).where(ASSISTANTS.c.assistant_id == assistant_id))

    def page_of_assistants(self, caller: Caller, after: str, limit: int) -> list[Record]:
        """Return at most `limit` of the caller's records with ids past `after`, sorted by id.

        One statement that reads the page. Raises `BackendError` for an outage.
        """
        if not askable(caller.email):
            return []
        query = (
            select(ASSISTANTS.c.record)
            .where(ASSISTANTS.c.owner == caller.email, _past(after))
            .order_by(ASSISTANTS.c.assistant_id)
            .limit(limit)
        )
        rows = self._connection.read(lambda session: list(session.scalars(query)))
        return [record for record in rows if isinstance(record, dict)]

    def list_assistants(self) -> Iterator[Record]:
        """Yield every record as stored, in the order of their ids."""
        return self._all()

    def put_assistant(self, record: Record) -> None:
        """Store or replace it.

        Raises `Conflict` if another owner has the id and `RecordError` if the record is unusable.
        """
        check_assistant_record(record)
        self._prepared_once()
        stored = as_json_value(record)
        if not (askable(stored[ID]) and askable(stored[OWNER])):
            raise RecordError(f"assistant record: {ID}, {OWNER}: no text that a database can hold")
        values = {"assistant_id": stored[ID], "owner": stored[OWNER], "record": stored}
        own = (ASSISTANTS.c.assistant_id == stored[ID]) & (ASSISTANTS.c.owner == stored[OWNER])
        replacing = update(ASSISTANTS).where(own).values(values)
        with self._connection.writing() as session:
            if session.execute(replacing).rowcount:
                return
            try:
                with session.begin_nested():
                    session.execute(insert(ASSISTANTS).values(values))
            except IntegrityError:
                # Another owner's, or the same owner's put at the same moment: then it is there now.
                if not session.execute(replacing).rowcount:
                    raise Conflict("another owner has an assistant with this id: choose another id") from None

    def delete_assistant(self, assistant_id: str) -> bool:
        """Remove it and return whether it was there."""
        if not askable(assistant_id):
            return False
        with self._connection.writing() as session:
            chosen = ASSISTANTS.c.assistant_id == assistant_id
            return bool(session.execute(delete(ASSISTANTS).where(chosen)).rowcount)


def _past(after: str) -> ColumnElement[bool]:
    """Return the condition that an id sorts behind `after`, which may be a text that no database takes."""
    column = ASSISTANTS.c.assistant_id
    for place, character in enumerate(after):
        if character == "\0":
            return column > after[:place]
        if "\ud800" <= character <= "\udfff":
            return column >= after[:place] + "\ue000"
    return column > after
