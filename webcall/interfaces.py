"""What the core and the backends agree on: two Protocols, the optional sides, and three records.

A backend's methods are called from many threads at once. They have four outcomes: a result, `None`
for "I do not know it", `webcall.Refused` for "I know it, and no", and any other exception for a
failure of the infrastructure, which the caller sees as a 500 and never as a 401 or 404.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from marshmallow import Schema

Record = Mapping[str, Any]
"""A key or an assistant as stored, with the field names of the system's documentation."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who an API key belongs to and what it may do. `None` in a limit means unrestricted."""

    email: str
    name: str | None = None
    org: str | None = None
    key_id: str | None = None
    allowed_assistants: frozenset[str] | None = None
    allowed_origins: tuple[str, ...] | None = None
    rate_limit: str | None = None
    max_concurrent_calls: int | None = None
    allowed_metadata: frozenset[str] | None = None
    publishable: bool = False
    subject: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assistant:
    """An assistant's definition; `record` is the whole of it as stored."""

    id: str
    owner: str
    mode: str
    prompt: str = field(repr=False)
    start_instruction: str = field(repr=False)
    placeholder_defaults: Mapping[str, Any] = field(repr=False)
    agent_name: str | None
    is_active: bool
    record: Record = field(repr=False)


@dataclass(frozen=True, slots=True)
class Backend:
    """What a plugin's hook returns: a name for the settings, and how to make the object.

    `factory` is called in the worker process, once, with the settings under `backends.<name>` as
    `settings_schema` loaded them (a dict; empty if the schema is None). It must not open a
    connection before the first request needs it.
    """

    name: str
    description: str
    settings_schema: type[Schema] | None
    factory: Callable[[dict[str, Any]], Any]


class KeyValidator(Protocol):
    """Knows API keys."""

    def validate(self, api_key: str) -> Caller | None:
        """Return whose key it is, or None if it is unknown here."""
        ...


class AssistantStore(Protocol):
    """Knows assistants."""

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        """Return the assistant if it is the caller's own; None if it is unknown or another owner's."""
        ...


@runtime_checkable
class Pings(Protocol):
    """Optional: a backend that can be down."""

    def ping(self) -> str | None:
        """Raise if the backend cannot answer. Return a short reason if it can only just be done with."""
        ...


@runtime_checkable
class Closes(Protocol):
    """Optional: a backend that holds connections or threads."""

    def close(self) -> None:
        """Give them back. Called once, when the worker ends."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """Optional: a backend with indexes or tables, made by `flask webcall <backend> init`."""

    def prepare(self) -> list[str]:
        """Make what is missing and return a line for each thing made. May be run again."""
        ...

    def unprepared(self) -> list[str]:
        """Return a line for each thing that `prepare` would make."""
        ...


@runtime_checkable
class ListsKeys(Protocol):
    """Optional: a validator that can list its keys."""

    def list_keys(self) -> Iterable[Record]:
        """Return every record as stored, old ones with a plain `api_key` included."""
        ...


@runtime_checkable
class ManagesKeys(ListsKeys, Protocol):
    """Optional: a validator whose keys can be written. A key is meant by the SHA-256 of its UTF-8."""

    def add_key(self, record: Record) -> None:
        """Store a new key's record. Raises `Conflict` if its hash is there already."""
        ...

    def update_key(self, key_hash: str, changes: Mapping[str, Any]) -> bool:
        """Set fields of the record whose `api_key_hash`, or whose plain `api_key`'s hash, this is.

        A field whose value is None is removed. Returns whether there was such a record.
        """
        ...


@runtime_checkable
class ListsAssistants(Protocol):
    """Optional: a store that can list its assistants."""

    def list_assistants(self) -> Iterable[Record]:
        """Return every record, as stored."""
        ...

    def find_assistant(self, assistant_id: str) -> Record | None:
        """Return the record, whoever owns it."""
        ...


@runtime_checkable
class ManagesAssistants(ListsAssistants, Protocol):
    """Optional: a store whose assistants can be written."""

    def put_assistant(self, record: Record) -> None:
        """Store or replace it. Raises `Conflict` if another owner has the id."""
        ...

    def delete_assistant(self, assistant_id: str) -> bool:
        """Remove it. Returns whether it was there."""
        ...
