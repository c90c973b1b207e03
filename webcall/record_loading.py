"""Stored records through their schemas, each content once, and what is made of them."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from cachetools import LRUCache
from marshmallow import Schema, ValidationError

from webcall.errors import RecordError
from webcall.interfaces import Record

# Of each kind, in bytes, roughly: some thousand records of the usual size.
_KEPT_BYTES = 8_000_000
# What a Python object takes, beside a text's characters.
_OBJECT_BYTES = 80
# A plain key is a secret, which has to go with its record.
_NOT_KEPT = ("api_key",)
_ABSENT = object()


T = TypeVar("T")


class Loaded(Generic[T]):
    """What the schema made of a record, and what was made of that. Shared: not to be changed.

    `size` is how many bytes it and the record's content take, roughly.
    """

    __slots__ = ("fields", "made", "size")

    def __init__(self, fields: dict[str, Any], made: T, size: int = 0) -> None:
        self.fields = fields
        self.made = made
        self.size = size


class Loader(Generic[T]):
    """Loads records of one kind, each content once: the schema takes longer than most look-ups.

    Kept by what stands in the fields that the schema reads, so that a changed record is another one; or by
    a digest of the JSON text, where the record comes as that.
    """

    def __init__(self, schema: Schema, what: str, make: Callable[[dict[str, Any]], T]) -> None:
        """Take the kind's schema, what messages call a record of it, and what to make of its fields."""
        self._schema = schema
        self._what = what
        self._make = make
        self._names = tuple(schema.load_fields)
        self._lock = threading.Lock()
        self._kept: LRUCache[Hashable, Loaded[T]] = LRUCache(_KEPT_BYTES, getsizeof=lambda kept: kept.size)

    def kept(self, record: Any) -> Loaded[T]:
        """Return what a record holds, and what is made of it; `RecordError` if it is unusable."""
        if not isinstance(record, Mapping):
            raise RecordError(f"{self._what}: not an object with named fields")
        if _is_secret(record):
            return self._load(record)
        content = tuple([_as_content(record[name]) if name in record else _ABSENT for name in self._names])
        try:
            with self._lock:
                kept = self._kept.get(content)
        except TypeError:
            # A database's own types need not be hashable; no record of use holds them.
            return self._load(record)
        return kept or self._keep(content, self._load(record), _bytes_of(content))

    def kept_of_json(self, text: bytes) -> Loaded[T]:
        """Return the same of a record that is a JSON text, which is read when it is another one only."""
        # Not the text itself: it may hold a provider's key, which has to go with its record.
        digest = hashlib.sha256(text).digest()
        with self._lock:
            kept = self._kept.get(digest)
        if kept is None:
            record = json.loads(text)
            kept = self._load(record)
            if not _is_secret(record):
                self._keep(digest, kept, _OBJECT_BYTES + len(digest))
        return kept

    def _keep(self, content: Hashable, loaded: Loaded[T], size: int) -> Loaded[T]:
        # What is made of the fields shares their values.
        loaded.size = size + _bytes_of(loaded.fields)
        # One that is larger than all that is kept is not kept.
        with self._lock, suppress(ValueError):
            self._kept[content] = loaded
        return loaded

    def _load(self, record: Record) -> Loaded[T]:
        if not isinstance(record, Mapping):
            raise RecordError(f"{self._what}: not an object with named fields")
        try:
            fields: dict[str, Any] = self._schema.load(record)
        except ValidationError as error:
            faults = [f"{name}: {_first(told)}" for name, told in error.messages_dict.items()]
            raise RecordError(f"{self._what}: " + "; ".join(faults)) from None
        return Loaded(fields, self._make(fields))


def _is_secret(record: Record) -> bool:
    return any(record.get(name) for name in _NOT_KEPT)


def _bytes_of(value: Any) -> int:
    """Return about how much memory a value takes, with all that is in it."""
    if isinstance(value, str | bytes):
        return _OBJECT_BYTES + len(value)
    if isinstance(value, Mapping):
        return _OBJECT_BYTES + sum(_bytes_of(name) + _bytes_of(item) for name, item in value.items())
    if isinstance(value, list | tuple):
        return _OBJECT_BYTES + sum(_bytes_of(item) for item in value)
    return _OBJECT_BYTES


def _as_content(value: Any) -> Hashable:
    """Return what is equal for equal values of the same types alone: `True == 1 == 1.0` in Python."""
    if isinstance(value, Mapping):
        return type(value), tuple([(name, _as_content(item)) for name, item in value.items()])
    if isinstance(value, list | tuple | set | frozenset):
        return type(value), tuple([_as_content(item) for item in value])
    if isinstance(value, bytearray):
        return bytearray, bytes(value)
    return type(value), value


def _first(messages: Any) -> str:
    while isinstance(messages, Mapping):
        messages = next(iter(messages.values()))
    return str(messages[0] if isinstance(messages, list) else messages)
