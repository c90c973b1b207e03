"""Stored records through their schemas, each content once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Hashable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

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


class _Kept(NamedTuple):
    """What the schema made of a record, and the bytes that this and the record's content take, roughly."""

    loaded: dict[str, Any]
    size: int


class Loader:
    """Loads records of one kind, each content once: the schema takes longer than most look-ups.

    Kept by what stands in the fields that the schema reads, so that a changed record is another one.
    """

    def __init__(self, schema: Schema, what: str) -> None:
        """Take the kind's schema, and what messages call a record of it."""
        self._schema = schema
        self._what = what
        self._fields = tuple(schema.load_fields)
        self._lock = threading.Lock()
        self._loaded: LRUCache[Hashable, _Kept] = LRUCache(_KEPT_BYTES, getsizeof=_size)

    def load(self, record: Any) -> dict[str, Any]:
        """Return a record's fields in their types; `RecordError` if it is unusable."""
        if not isinstance(record, Mapping):
            raise RecordError(f"{self._what}: not an object with named fields")
        if any(record.get(name) for name in _NOT_KEPT):
            return self._load(record)
        content = tuple([_as_content(record[name]) if name in record else _ABSENT for name in self._fields])
        try:
            with self._lock:
                kept = self._loaded.get(content)
        except TypeError:
            # A database's own types need not be hashable; no record of use holds them.
            return self._load(record)
        if kept is None:
            loaded = self._load(record)
            kept = _Kept(loaded, _bytes_of(content) + _bytes_of(loaded))
            # One that is larger than all that is kept is not kept.
            with self._lock, suppress(ValueError):
                self._loaded[content] = kept
        # What one request does to a list or an object in it must not reach the next one's.
        return {name: _own(value) for name, value in kept.loaded.items()}

    def _load(self, record: Record) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = self._schema.load(record)
        except ValidationError as error:
            faults = [f"{name}: {_first(told)}" for name, told in error.messages_dict.items()]
            raise RecordError(f"{self._what}: " + "; ".join(faults)) from None
        return loaded


def _size(kept: _Kept) -> int:
    return kept.size


def _own(value: Any) -> Any:
    return copy.deepcopy(value) if isinstance(value, list | dict) else value


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
