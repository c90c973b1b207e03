"""Records in a form that any backend can store, and where they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

from webcall.interfaces import ListsAssistants, ListsKeys, Record
from webcall.records import as_json_value, hash_api_key, key_hash_of, key_id_of

Kind = Literal["key", "assistant"]


class Entry(NamedTuple):
    """A record on its way; `as_text`: some of its values have no form in JSON and became text."""

    kind: Kind
    record: Record
    as_text: bool = False


class Source(Protocol):
    """Where records come from."""

    def entries(self) -> Iterator[Entry]:
        """Yield every record in the forms that JSON has."""
        ...


class BackendSource:
    """The records of a backend that can list them, either side or both."""

    def __init__(self, keys: ListsKeys | None = None, assistants: ListsAssistants | None = None) -> None:
        """Take the sides; None for one that is not wanted."""
        self._keys = keys
        self._assistants = assistants

    def entries(self) -> Iterator[Entry]:
        """Yield every record, keys first, as it can be stored elsewhere."""
        for record in self._keys.list_keys() if self._keys is not None else ():
            yield portable("key", record)
        for record in self._assistants.list_assistants() if self._assistants is not None else ():
            yield portable("assistant", record)


def portable(kind: Kind, record: Record) -> Entry:
    """Return a record as any backend can store it.

    It has the forms of JSON and no `_id`, which only its own MongoDB means something by; a plain key
    becomes its hash and its prefix.
    """
    kept = {name: value for name, value in record.items() if name != "_id"}
    plain = kept.get("api_key")
    # Anything else in its place makes the record unusable, and stays to be told.
    if kind == "key" and (plain is None or isinstance(plain, str)):
        kept.pop("api_key", None)
        if plain:
            kept["api_key_hash"] = key_hash_of(record) or hash_api_key(plain)
            # By it a publishable key is known for one.
            kept["api_key_prefix"] = record.get("api_key_prefix") or key_id_of(record)
    found: dict[str, Any] = as_json_value(kept)
    return Entry(kind, found, as_text=found != kept)
