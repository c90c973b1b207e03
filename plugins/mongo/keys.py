"""API keys in the collection `api_keys`."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError

from plugins.mongo.connection import Connection, can_be_asked
from plugins.mongo.indexes import Index, Indexes
from plugins.mongo.writing import storable
from webcall import Caller, Conflict, RecordError
from webcall.interfaces import Record
from webcall.record_schemas import KeySchema
from webcall.records import caller_from_record, check_key_record, hash_api_key, key_hash_of

COLLECTION = "api_keys"
NEEDED = {"_id": 0, **dict.fromkeys(KeySchema().fields, 1)}


class MongoKeys:
    """Knows the keys of one database, hashed ones and the plain ones of an existing deployment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._indexes = Indexes(
            connection,
            COLLECTION,
            Index("api_key_hash", unique=True, sparse=True),
            Index("api_key", sparse=True),
            Index("api_key_prefix"),
        )
        self._prepared_in: int | None = None

    def validate(self, api_key: str) -> Caller | None:
        """Return whose key it is, or None; raises `Refused` if it is revoked or expired.

        One indexed query for a hashed key, a second one for any other. `BackendError` for an outage.
        """
        key_hash = hash_api_key(api_key)
        with self._connection.bounded():
            collection = self._connection.collection(COLLECTION)
            document = collection.find_one({"api_key_hash": key_hash}, NEEDED)
            if document is None and can_be_asked(api_key):
                # A query of its own: with $or, not every server uses both indexes.
                document = collection.find_one({"api_key": api_key}, NEEDED)
        if document is None:
            return None
        # Again, in Python: a collection's collation may take other letters for the same, and a plain
        # key beside a hash that is not its own is a leftover.
        if not hmac.compare_digest((key_hash_of(document) or "").encode(), key_hash.encode()):
            return None
        return caller_from_record(document)

    def ping(self) -> str | None:
        """Raise `BackendError` if the database does not answer."""
        self._connection.ping()
        return None

    def close(self) -> None:
        """Close the connections of this process."""
        self._connection.close()

    def prepare(self) -> list[str]:
        """Make the missing indexes and return a line for each. See `Indexes.prepare`."""
        return self._indexes.prepare()

    def unprepared(self) -> list[str]:
        """Return a line for each missing index."""
        return self._indexes.unprepared()

    def add_key(self, record: Record) -> None:
        """Store a key's record, by its hash alone.

        Raises `Conflict` if the hash is there, `RecordError` for a plain `api_key` or an unusable record.
        """
        _refuse_plain(record)
        check_key_record(record)
        if self._prepared_in != os.getpid():
            self.prepare()
            self._prepared_in = os.getpid()
        with self._connection.bounded(), storable():
            try:
                self._connection.collection(COLLECTION).insert_one(dict(record))
            except DuplicateKeyError:
                raise Conflict("an API key with this hash is stored already") from None

    def list_keys(self) -> Iterator[Record]:
        """Yield every record as stored, `_id` included; each batch has the timeout for itself."""
        with self._connection.translated(), self._connection.collection(COLLECTION).find() as documents:
            yield from documents

    def update_key(self, key_hash: str, changes: Mapping[str, Any]) -> bool:
        """Set fields, or remove those that are None, of the record with this hash or its plain key.

        Raises `Conflict` if the changes give it the hash of another one.
        """
        _refuse_plain(changes)
        update: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            update.setdefault("$unset" if value is None else "$set", {})[name] = (
                "" if value is None else value
            )
        if self._update({"api_key_hash": key_hash}, update):
            return True
        # All of them: a plain key that stands there twice must not outlive its revocation.
        ids = [document["_id"] for document in self._plain() if key_hash_of(document) == key_hash]
        return bool(ids) and self._update({"_id": {"$in": ids}}, update)

    def _update(self, query: dict[str, Any], update: dict[str, Any]) -> bool:
        with self._connection.bounded(), storable():
            collection = self._connection.collection(COLLECTION)
            if not update:
                return collection.find_one(query, {"_id": 1}) is not None
            try:
                return collection.update_many(query, update).matched_count > 0
            except DuplicateKeyError:
                raise Conflict("another API key with this hash is stored already") from None

    def _plain(self) -> Iterator[Record]:
        query, fields = {"api_key": {"$exists": True}}, {"api_key": 1, "api_key_hash": 1}
        with (
            self._connection.translated(),
            self._connection.collection(COLLECTION).find(query, fields) as found,
        ):
            yield from found


def _refuse_plain(record: Record) -> None:
    if record.get("api_key") is not None:
        raise RecordError("API key record: api_key: never stored in plain; give api_key_hash in its place")
