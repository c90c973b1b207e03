"""Stored records and what the code makes of them: the one place that maps field names.

Field names are those of the system's documentation, the same in MongoDB documents, in files and in
the environment. Fields that the service does not know are kept and handed on to the agent.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

from webcall.errors import RecordError, Refused
from webcall.interfaces import Assistant, Caller, Record
from webcall.record_loading import Loaded, Loader
from webcall.record_schemas import DEFAULT_MODE, AssistantSchema, KeySchema

PREFIX_LENGTH = 12
SECRET_PREFIX, PUBLISHABLE_PREFIX = "lvk_", "lvp_"
REVOKED, EXPIRED = "revoked", "expired"


def new_api_key(*, publishable: bool = False) -> str:
    """Return a fresh key: `lvk_`, or `lvp_` for a publishable one, and 256 random bits, URL-safe."""
    return (PUBLISHABLE_PREFIX if publishable else SECRET_PREFIX) + secrets.token_urlsafe(32)


def hash_api_key(api_key: str) -> str:
    """Return the SHA-256 of the key's UTF-8 as 64 lower-case hex digits: what records hold of it."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def key_hash_of(record: Record) -> str | None:
    """Return the hash that a key's record is found by; computed where an old one holds the plain key."""
    stored = record.get("api_key_hash")
    if isinstance(stored, str) and stored:
        return stored
    plain = record.get("api_key")
    return hash_api_key(plain) if isinstance(plain, str) and plain else None


def key_id_of(record: Record) -> str | None:
    """Return what logs and listings call a key: its first 12 characters, or those of its hash.

    Those of the hash for a short key of an existing deployment, most or all of which 12 characters
    would show. None if the record has neither key nor hash.
    """
    plain, prefix, key_hash = record.get("api_key"), _prefix_of(record), key_hash_of(record) or ""
    short = isinstance(plain, str) and 0 < len(plain) < 2 * PREFIX_LENGTH
    if prefix.startswith(PUBLISHABLE_PREFIX):
        # Such a key is no secret, and is known by its prefix alone once it is stored as a hash.
        return prefix
    if short or hash_api_key(str(record.get("api_key_prefix"))) == key_hash:
        prefix = ""
    return prefix or key_hash[:PREFIX_LENGTH] or None


def _prefix_of(record: Record) -> str:
    for stored in (record.get("api_key_prefix"), record.get("api_key")):
        if isinstance(stored, str) and stored:
            return stored[:PREFIX_LENGTH]
    return ""


def _now() -> datetime:
    return datetime.now(UTC)


class _NoClaims(Mapping[str, Any]):
    """Those of a key, whose caller is kept: a dict would hand what one request puts there to the next."""

    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"


_NO_CLAIMS = _NoClaims()


def _caller(key: dict[str, Any]) -> Caller:
    return Caller(
        email=key["user_email"],
        name=key["user_name"],
        org=key["org_name"],
        key_id=key_id_of(key),
        allowed_assistants=_frozen(key["allowed_assistants"]),
        allowed_origins=None if key["allowed_origins"] is None else tuple(key["allowed_origins"]),
        rate_limit=key["rate_limit"],
        max_concurrent_calls=key["max_concurrent_calls"],
        allowed_metadata=_frozen(key["allowed_metadata"]),
        publishable=bool(_prefix_of(key).startswith(PUBLISHABLE_PREFIX) or key["native"]),
        native=bool(key["native"]),
        expires_at=key["expires_at"],
        claims=_NO_CLAIMS,
    )


# For bytes json.loads looks first for the encoding, which takes as long as to read a small record.
_decode = json.JSONDecoder().decode

_KEY = Loader(KeySchema(), "API key record", _caller)
_ASSISTANT = Loader(AssistantSchema(), "assistant record", lambda fields: None)


def check_key_record(record: Any) -> None:
    """Raise `RecordError`, naming fields and no values, unless `record` is a usable key record."""
    fields = _KEY.kept(record).fields
    if not (fields["api_key_hash"] or fields["api_key"]):
        raise RecordError("API key record: api_key_hash: missing")


def check_assistant_record(record: Any) -> None:
    """Raise `RecordError`, naming fields and no values, unless `record` is a usable assistant record."""
    _ASSISTANT.kept(record)


def caller_from_record(record: Record) -> Caller:
    """Return whose key a record describes.

    Raises `Refused`, its text `REVOKED` or `EXPIRED`, if the key is no longer good, and `RecordError`
    if the record is unusable.
    """
    return _good(_KEY.kept(record))


def caller_from_json(text: bytes) -> Caller:
    """Do as `caller_from_record` does with a record that is a JSON text."""
    return _good(_KEY.kept_of_json(text))


def _good(key: Loaded[Caller]) -> Caller:
    """Return a key's caller. Raises `Refused`."""
    if not key.fields["is_active"]:
        raise Refused(REVOKED)
    expires_at = key.made.expires_at
    if expires_at is not None and expires_at <= _now():
        raise Refused(EXPIRED)
    return key.made


def expiry_of(record: Record) -> datetime | None:
    """Return when a key's record expires, with its time zone; None if never. Raises `RecordError`."""
    return _KEY.kept(record).made.expires_at


def is_active(record: Record) -> bool:
    """Return whether a key's record is not revoked, as `caller_from_record` sees it. Raises `RecordError`."""
    active: bool = _KEY.kept(record).fields["is_active"]
    return active


def _frozen(names: list[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def assistant_from_record(record: Record) -> Assistant:
    """Return the assistant that a record describes; `RecordError` if the record is unusable."""
    return _assistant(_ASSISTANT.kept(record), record)


def _assistant(known: Loaded[None], record: Record) -> Assistant:
    fields = known.fields
    defaults = fields["assistant_placeholder_defaults"]
    return Assistant(
        id=fields["assistant_id"],
        owner=fields["assistant_created_by_email"],
        mode=fields["assistant_mode"] or DEFAULT_MODE,
        prompt=fields["assistant_prompt"] or "",
        start_instruction=fields["assistant_start_instruction"] or "",
        # A copy: what one request does to it must not reach the next one's.
        placeholder_defaults=copy.deepcopy(defaults) if defaults else {},
        agent_name=fields["agent_name"] or None,
        is_active=fields["assistant_is_active"],
        record=record,
    )


def assistant_for(caller: Caller, record: Record) -> Assistant | None:
    """Return what a store answers about a record that it found by its id.

    None if it is another owner's: a stranger learns nothing, not even that it is inactive. Raises
    `Refused` if it is the caller's and inactive, and `RecordError` if the record is unusable.
    """
    if not isinstance(record, Mapping) or record.get("assistant_created_by_email") != caller.email:
        return None
    return _active(assistant_from_record(record))


def assistant_from_json(text: bytes) -> Assistant:
    """Return what a store answers about a record that is a JSON text, and the caller's; raises as above."""
    return _active(_assistant(_ASSISTANT.kept_of_json(text), _decode(text.decode())))


def _active(assistant: Assistant) -> Assistant:
    if not assistant.is_active:
        raise Refused("assistant is inactive")
    return assistant


# Tuples made once: a union would be made with each call, and a record has many values. A dict is a Mapping,
# which takes longer to find out.
_AS_IT_IS = (str, bool, int)
_OBJECT = (dict, Mapping)


def as_json_value(value: Any) -> Any:
    """Return `value` in the forms that JSON has; what it has none for becomes a string.

    Times become RFC 3339, ObjectIds and the like their `str`.
    """
    if value is None or isinstance(value, _AS_IT_IS):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, _OBJECT):
        return {str(name): as_json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json_value(item) for item in value]
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
