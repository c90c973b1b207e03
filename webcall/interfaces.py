"""What the core and the backends agree on: two Protocols, their optional sides, and the records.

A backend's methods are called from many threads at once. They have four outcomes: a result, `None`
for "I do not know it", `webcall.Refused` for "I know it, and no", and any other exception for a
failure of the infrastructure, which the caller sees as a 500 and never as a 401 or 404.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from marshmallow import Schema

Record = Mapping[str, Any]
"""A key or an assistant as stored, with the field names of the system's documentation."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who an API key belongs to and what it may do. `None` in a limit means unrestricted.

    A `publishable` key may stand in a web page: it is taken from its `allowed_origins` only, with
    metadata of its `allowed_metadata` only (None: of no name), and is refused without
    `allowed_assistants`. A `native` one is a publishable key for apps on a phone, which send no origin.

    `subject` is the person whose own login it is, where a validator knows one: unique in that
    validator. Their limits and repeated requests are counted by it, whatever token they come with.
    """

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
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    native: bool = False
    # When the key or login ends, with its time zone: nothing that is kept of it is used from then on.
    expires_at: datetime | None = None
    # A hash, of the key or of a login's person, by which limits and repeats tell callers apart. The key
    # ring sets it; it is never logged.
    counted_as: str = field(default="", repr=False)


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
class CacheSettings:
    """How long the service keeps a backend's answers, in seconds; 0: not at all.

    `cache_s` is for records, `negative_cache_s` for "I do not know it" and `Refused`, and
    `stale_if_error_s` is how much longer the last record is served while the backend fails.
    `cache_size` is how many answers are kept of each side. An operator's settings of the same names
    under `backends.<name>` win; no backend gets to see those.
    """

    cache_s: float = 0.0
    negative_cache_s: float = 0.0
    stale_if_error_s: float = 0.0
    cache_size: int = 2_000

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return bool(self.cache_s or self.negative_cache_s or self.stale_if_error_s)


@dataclass(frozen=True, slots=True)
class Backend:
    """What a plugin's hook returns: a name for the settings, and how to make the object.

    `factory` is called in the worker process, once, with the settings under `backends.<name>` as
    `settings_schema` loaded them (a dict; empty if the schema is None). It must not open a
    connection before the first request needs it. `cache` is how long answers are kept unless the
    operator says otherwise: for backends that are slow to ask.
    """

    name: str
    description: str
    settings_schema: type[Schema] | None
    factory: Callable[[dict[str, Any]], Any]
    cache: CacheSettings = CacheSettings()


class KeyValidator(Protocol):
    """Knows API keys."""

    def validate(self, api_key: str) -> Caller | None:
        """Return whose key it is, or None if it is unknown here."""
        ...


class AssistantStore(Protocol):
    """Knows assistants."""

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        """Return the assistant if it is the caller's own; None if it is unknown or another owner's.

        The answer depends on the id and on the caller's `email`, `org` and `subject` alone: where
        answers are kept, another caller with the same gets the same.
        """
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
class PagesAssistants(Protocol):
    """Optional: a store that gives one caller's assistants in pages, at the cost of what is on the page.

    `GET /web_call/assistants` asks it; of a store that has `ListsAssistants` alone, every record is read.
    """

    def page_of_assistants(self, caller: Caller, after: str, limit: int) -> Sequence[Record]:
        """Return at most `limit` of the records that `get` finds for this caller, refused ones included.

        They are those whose `assistant_id` is greater than `after` (an empty string: from the first
        on), sorted by it as Python compares text, by code points. Fewer than `limit` are the last.
        """
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
