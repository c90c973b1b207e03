"""The indexes that the look-ups need, known by what they index: a server may change their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymongo import ASCENDING
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from plugins.mongo.connection import Connection, Document
from webcall import BackendError

# Building one over a large collection takes longer than any request may.
BUILD_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Index:
    """One index over one field or two; `sparse` leaves out documents without it, for uniqueness too."""

    field: str
    unique: bool = False
    sparse: bool = False
    second: str | None = None

    @property
    def fields(self) -> list[str]:
        """The fields in their order."""
        return [self.field] if self.second is None else [self.field, self.second]


class Indexes:
    """The indexes of one collection."""

    def __init__(self, connection: Connection, collection: str, *indexes: Index) -> None:
        self._connection = connection
        self._collection = collection
        self._indexes = indexes

    def prepare(self) -> list[str]:
        """Make those that are missing and return a line for each.

        Raises `BackendError` where stored documents or an older index are in the way, with the fix.
        """
        made = []
        for index in self._missing():
            self._make(index)
            made.append(self._line(index))
        return made

    def unprepared(self) -> list[str]:
        """Return a line for each that `prepare` would make."""
        return [self._line(index) for index in self._missing()]

    def _missing(self) -> list[Index]:
        with self._connection.bounded():
            found = self._connection.collection(self._collection).index_information()
        return [index for index in self._indexes if not any(_serves(it, index) for it in found.values())]

    def _make(self, index: Index) -> None:
        # Only what is set: some servers refuse an option that they do not know, even when it is off.
        options: dict[str, Any] = {name: True for name in ("unique", "sparse") if getattr(index, name)}
        with self._connection.bounded(BUILD_TIMEOUT_S):
            collection = self._connection.collection(self._collection)
            if any(_fields(info) == index.fields for info in collection.index_information().values()):
                raise BackendError(
                    f"{self._collection}: the index on {', '.join(index.fields)} is not unique or covers a "
                    "part of the documents only: drop it (dropIndex in the MongoDB shell) and prepare again"
                )
            try:
                collection.create_index([(field, ASCENDING) for field in index.fields], **options)
            except OperationFailure:
                # Looked up, not taken from the error: servers say it in different ways.
                if not (index.unique and _has_repeats(collection, index.field)):
                    raise
                raise BackendError(
                    f"{self._collection}: documents share one {index.field}, which must be unique: "
                    "remove or rename all but one of them and prepare again"
                ) from None

    def _line(self, index: Index) -> str:
        return f"{self._collection}: {'unique ' if index.unique else ''}index on {', '.join(index.fields)}"


def _fields(info: Mapping[str, Any]) -> list[str]:
    return [field for field, _ in info["key"]]


def _serves(info: Mapping[str, Any], index: Index) -> bool:
    partial = "partialFilterExpression" in info
    return _fields(info) == index.fields and not partial and (bool(info.get("unique")) or not index.unique)


def _has_repeats(collection: Collection[Document], field: str) -> bool:
    groups = collection.aggregate(
        [
            {"$match": {field: {"$exists": True}}},
            {"$group": {"_id": f"${field}", "count": {"$sum": 1}}},
            {"$match": {"count": {"$gt": 1}}},
            {"$limit": 1},
        ]
    )
    with groups:
        return any(True for _ in groups)
