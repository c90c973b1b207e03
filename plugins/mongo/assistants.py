"""Assistants in the collection `assistants`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from plugins.mongo.connection import Connection, Document, can_be_asked
from plugins.mongo.indexes import Index, Indexes
from plugins.mongo.writing import storable
from webcall import Assistant, Caller, Conflict
from webcall.interfaces import Record
from webcall.records import assistant_for, check_assistant_record

COLLECTION = "assistants"
ID, OWNER = "assistant_id", "assistant_created_by_email"


class MongoAssistants:
    """Knows the assistants of one database."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._indexes = Indexes(connection, COLLECTION, Index(ID, unique=True), Index(OWNER, second=ID))
        self._prepared_in: int | None = None

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        """Return the caller's own assistant, or None; raises `Refused` if it is inactive.

        One indexed query whatever the answer, so that another owner's id costs what an unknown one does.
        `BackendError` for an outage.
        """
        if not (can_be_asked(assistant_id) and can_be_asked(caller.email)):
            return None
        with self._connection.bounded():
            # With the owner: in an existing deployment two of them may have the same id.
            query = {ID: assistant_id, OWNER: caller.email}
            document = self._connection.collection(COLLECTION).find_one(query)
        # Compared again: a collection's collation may take other letters for the same.
        if document is None or document[ID] != assistant_id:
            return None
        return assistant_for(caller, document)

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

    def put_assistant(self, record: Record) -> None:
        """Store or replace it; a stored document keeps its `_id`.

        Raises `Conflict` if another owner has the id and `RecordError` if the record is unusable.
        """
        check_assistant_record(record)
        if self._prepared_in != os.getpid():
            self.prepare()
            self._prepared_in = os.getpid()
        # Without its `_id`, which a document that is read, edited and put again brings along.
        document: Document = {name: value for name, value in record.items() if name != "_id"}
        with self._connection.bounded(), storable():
            collection = self._connection.collection(COLLECTION)
            own = {ID: record[ID], OWNER: record[OWNER]}
            try:
                collection.replace_one(own, document, upsert=True)
            except DuplicateKeyError:
                # Another owner's, or the same owner's put at the same moment: then it is there now.
                if not collection.replace_one(own, document).matched_count:
                    raise Conflict("another owner has an assistant with this id: choose another id") from None

    def list_assistants(self) -> Iterator[Record]:
        """Yield every record as stored, `_id` included; each batch has the timeout for itself."""
        with self._connection.translated(), self._connection.collection(COLLECTION).find() as documents:
            yield from documents

    def page_of_assistants(self, caller: Caller, after: str, limit: int) -> list[Record]:
        """Return at most `limit` of the caller's records with ids past `after`, sorted by id.

        One indexed query that reads the page. Raises `BackendError` for an outage.
        """
        if not can_be_asked(caller.email):
            return []
        found: list[Record] = []
        query = {OWNER: caller.email, ID: {"$gt": after}}
        with self._connection.bounded():
            documents = self._connection.collection(COLLECTION).find(query, batch_size=limit + 1)
            with documents.sort([(OWNER, ASCENDING), (ID, ASCENDING)]) as cursor:
                for document in cursor:
                    # Compared again, as in `get`; a query matches a list that holds the value, too.
                    if document[OWNER] == caller.email and isinstance(document[ID], str):
                        found.append(document)
                    if len(found) == limit:
                        break
        return found

    def find_assistant(self, assistant_id: str) -> Record | None:
        """Return the record, whoever owns it."""
        if not can_be_asked(assistant_id):
            return None
        with self._connection.bounded():
            return self._connection.collection(COLLECTION).find_one({ID: assistant_id})

    def delete_assistant(self, assistant_id: str) -> bool:
        """Remove it and return whether it was there.

        Raises `Conflict` if, in an existing deployment, several documents have the id: which one is
        meant cannot be told.
        """
        if not can_be_asked(assistant_id):
            return False
        with self._connection.bounded():
            collection = self._connection.collection(COLLECTION)
            with collection.find({ID: assistant_id}, {"_id": 1}).limit(2) as documents:
                found = [document["_id"] for document in documents]
            if len(found) > 1:
                raise Conflict(
                    "several documents have this assistant_id: remove one in MongoDB itself, by its _id"
                )
            return bool(found) and collection.delete_one({"_id": found[0]}).deleted_count > 0
