"""API keys in the table `webcall_api_keys`, by their hashes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from plugins.sql.table import TableOfRecords
from plugins.sql.tables import KEYS
from webcall import Caller, Conflict, RecordError
from webcall.interfaces import Record
from webcall.records import as_json_value, caller_from_record, check_key_record, hash_api_key

HASH = "api_key_hash"


class SqlKeys(TableOfRecords):
    """Knows the keys of one database."""

    TABLE = KEYS

    def validate(self, api_key: str) -> Caller | None:
        """Return whose key it is, or None; raises `Refused` if it is revoked or expired.

        One statement, by the primary key. `BackendError` for an outage.
        """
        record = self._one(select(KEYS.c.record).where(KEYS.c.api_key_hash == hash_api_key(api_key)))
        return None if record is None else caller_from_record(record)

    def add_key(self, record: Record) -> None:
        """Store a key's record, by its hash alone.

        Raises `Conflict` if the hash is there, `RecordError` for a plain `api_key` or an unusable record.
        """
        _refuse_plain(record)
        check_key_record(record)
        self._prepared_once()
        stored = as_json_value(record)
        with self._connection.writing() as session:
            try:
                session.execute(insert(KEYS).values(api_key_hash=stored[HASH], record=stored))
            except IntegrityError:
                raise Conflict("an API key with this hash is stored already") from None

    def list_keys(self) -> Iterator[Record]:
        """Yield every record as stored, in the order of their hashes."""
        return self._all()

    def update_key(self, key_hash: str, changes: Mapping[str, Any]) -> bool:
        """Set fields, or remove those that are None, of the record with this hash.

        Raises `Conflict` if the changes give it the hash of another one.
        """
        _refuse_plain(changes)
        chosen = KEYS.c.api_key_hash == key_hash
        with self._connection.writing() as session:
            # Locked until the end of the transaction: two changes at once do not undo each other.
            found = session.scalar(select(KEYS.c.record).where(chosen).with_for_update())
            if found is None:
                return False
            changed = {**found, **as_json_value(changes)}
            stored = {name: value for name, value in changed.items() if changes.get(name, value) is not None}
            new_hash = stored.get(HASH, key_hash)
            try:
                session.execute(update(KEYS).where(chosen).values(api_key_hash=new_hash, record=stored))
            except IntegrityError:
                raise Conflict("another API key with this hash is stored already") from None
        return True


def _refuse_plain(record: Record) -> None:
    if record.get("api_key") is not None:
        raise RecordError("API key record: api_key: never stored in plain; give api_key_hash in its place")
