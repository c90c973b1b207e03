"""What a new API key is to be, and the record of it: checked here, where it is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webcall.core.limits import assistant_id_fits
from webcall.errors import WebCallError
from webcall.origins import origin_pattern
from webcall.rates import parse_rate
from webcall.records import PREFIX_LENGTH, hash_api_key

_MAX_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A wish. Empty and None mean unrestricted; of a publishable key's metadata, that none is allowed.

    `assistants` are ids, `origins` as in `webcall.origins.origin_pattern`, `rate` as in
    `webcall.rates.parse_rate`.
    """

    owner: str
    name: str | None = None
    org: str | None = None
    expires_at: datetime | None = None
    assistants: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    metadata_names: tuple[str, ...] = ()
    rate: str | None = None
    max_concurrent: int | None = None
    publishable: bool = False
    native: bool = False


def record_of(new: NewKey, api_key: str) -> dict[str, Any]:
    """Return what to store of a new key: its hash, and never the key.

    Raises `WebCallError`, which shows a right one, for what could never match or would leave a
    publishable key open.
    """
    _check_kind(new)
    if not new.owner or new.owner != new.owner.strip():
        raise WebCallError("the owner is empty or has white space around it: give the assistants' owner")
    for assistant_id in new.assistants:
        if assistant_id != assistant_id.strip() or not assistant_id_fits(assistant_id):
            raise WebCallError("an assistant's id is empty, too long, or has white space around it")
    if new.max_concurrent is not None and new.max_concurrent < 1:
        raise WebCallError("the number of calls at once is below 1: give one such as 5")
    metadata_names = _distinct(_metadata_name(name) for name in new.metadata_names)
    record = {
        "user_email": new.owner,
        "user_name": new.name,
        "org_name": new.org,
        "expires_at": new.expires_at,
        "allowed_assistants": _distinct(new.assistants) or None,
        "allowed_origins": _distinct(_origin(text) for text in new.origins) or None,
        # Written out for a publishable key: no list there means none, here the same without knowing that.
        "allowed_metadata": metadata_names or ([] if new.publishable else None),
        "rate_limit": None if new.rate is None else _rate(new.rate),
        "max_concurrent_calls": new.max_concurrent,
        "native": new.native or None,
    }
    return fresh_fields(api_key) | {field: value for field, value in record.items() if value is not None}


def fresh_fields(api_key: str) -> dict[str, Any]:
    """Return the fields that a key has of its own: hash, prefix, and that it is made now and active."""
    return {
        "api_key_hash": hash_api_key(api_key),
        "api_key_prefix": api_key[:PREFIX_LENGTH],
        "created_at": datetime.now(UTC).replace(microsecond=0),
        "is_active": True,
    }


def _check_kind(new: NewKey) -> None:
    if new.native and not new.publishable:
        raise WebCallError("an app on a phone keeps no secret: with --native belongs --publishable")
    if not new.publishable:
        return
    if not new.assistants:
        raise WebCallError("a publishable key needs the assistants that it may call: add --assistant ID")
    if not (new.origins or new.native):
        raise WebCallError(
            "a publishable key needs the origins of its pages: add --origin https://shop.example.com, "
            "or --native for apps on a phone"
        )


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _origin(text: str) -> str:
    try:
        return str(origin_pattern(text))
    except ValueError as error:
        raise WebCallError(f"the origin {text!a} {error}") from None


def _rate(text: str) -> str:
    try:
        parse_rate(text)
    except ValueError as error:
        raise WebCallError(f"the rate: {error}") from None
    return text.strip()


def _metadata_name(name: str) -> str:
    if not name or name != name.strip() or len(name) > _MAX_NAME:
        raise WebCallError("a name of metadata is empty, too long, or has white space around it")
    if "." in name:
        # A placeholder's dot goes into an object, whose name is what is sent.
        raise WebCallError(
            f"the name {name!a} has a dot: give the outermost name, such as customer for "
            "{{customer.name}}"
        )
    return name
