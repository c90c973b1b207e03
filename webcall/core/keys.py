"""Manage API keys through whichever backend holds them. Functions; the commands are in `webcall.cli`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from webcall.core.lookup import Assistants
from webcall.core.new_keys import NewKey, fresh_fields, record_of
from webcall.core.permissions import lacks_restrictions
from webcall.core.read_only import read_only
from webcall.errors import AssistantNotFound, Conflict, RecordError, Refused, WebCallError
from webcall.interfaces import ListsAssistants, ListsKeys, ManagesKeys, Record
from webcall.records import (
    PREFIX_LENGTH,
    PUBLISHABLE_PREFIX,
    SECRET_PREFIX,
    caller_from_record,
    expiry_of,
    hash_api_key,
    key_hash_of,
    key_id_of,
    new_api_key,
)

Validators = Sequence[tuple[str, Any]]

_HASH_DIGITS_NEEDED = 8


@dataclass(frozen=True)
class KeyEntry:
    """A stored key: where it is, what it is called, and its record."""

    backend: str
    id: str
    hash: str
    record: Record

    @property
    def state(self) -> str:
        """`active`, or why it is not: `revoked`, `expired`, `unusable`.

        A publishable key without the restrictions that it needs is unusable: it is refused.
        """
        try:
            caller = caller_from_record(self.record)
        except Refused as error:
            return str(error)
        except RecordError:
            return "unusable"
        return "active" if self.hash and not lacks_restrictions(caller) else "unusable"


def create_key(manager: ManagesKeys, new: NewKey) -> str:
    """Store a new key and return it: the only time that it is seen. Raises as `record_of`."""
    api_key = new_api_key(publishable=new.publishable)
    manager.add_key(record_of(new, api_key))
    return api_key


def unknown_assistants(stores: Sequence[tuple[str, Any]], new: NewKey) -> Iterator[str]:
    """Yield those of a new key's assistants that its owner does not have, as far as it can be known here."""
    if not all(isinstance(store, ListsAssistants) for _, store in stores):
        return  # a service that answers about a whole key, and this one has not been seen yet
    assistants, caller = Assistants(stores), caller_from_record({"user_email": new.owner})
    for assistant_id in new.assistants:
        try:
            assistants.find(assistant_id, caller)
        except AssistantNotFound:
            yield assistant_id
        except WebCallError:
            continue  # an outage, or a broken record: it is there, or may be


def list_keys(validators: Validators) -> Iterator[KeyEntry]:
    """Yield every key of every backend that can list its keys."""
    for backend, validator in validators:
        if isinstance(validator, ListsKeys):
            for record in validator.list_keys():
                yield KeyEntry(backend, key_id_of(record) or "", key_hash_of(record) or "", record)


def find_key(validators: Validators, id_or_hash: str) -> list[KeyEntry]:
    """Return the records, one for each place that has it, of the key with this id or hash.

    The first eight digits of a hash are enough. Raises `WebCallError`, which does not repeat what was
    given, if no key or several keys have it, or if it is a key itself.
    """
    entries = list(list_keys(validators))
    whole = id_or_hash.startswith((SECRET_PREFIX, PUBLISHABLE_PREFIX)) and len(id_or_hash) > PREFIX_LENGTH
    if whole or any(entry.hash == hash_api_key(id_or_hash) for entry in entries):
        raise WebCallError(
            "this is a key, and keys do not belong in a command: give its id, "
            "which `flask webcall keys list` shows"
        )
    by_hash = len(id_or_hash) >= _HASH_DIGITS_NEEDED
    found = [
        entry
        for entry in entries
        if id_or_hash and (entry.id == id_or_hash or (by_hash and entry.hash.startswith(id_or_hash)))
    ]
    if not found:
        raise WebCallError("no key has this id; `flask webcall keys list` shows them")
    hashes = sorted({entry.hash for entry in found})
    if len(hashes) > 1:
        shown = ", ".join(each[:PREFIX_LENGTH] for each in hashes)
        raise WebCallError(
            f"{len(hashes)} keys have this id; say which by the beginning of its hash: {shown}"
        )
    if not hashes[0]:
        raise WebCallError("the record of this key has neither api_key_hash nor api_key: fix it first")
    return found


def revoke_key(validators: Validators, entries: Sequence[KeyEntry]) -> None:
    """Make a key unusable wherever it is stored; its records stay.

    Raises `WebCallError`, and changes nothing, if one of the backends cannot.
    """
    managers = [manager_of(validators, entry.backend) for entry in entries]
    for entry, manager in zip(entries, managers, strict=True):
        if not manager.update_key(entry.hash, {"is_active": False}):
            raise WebCallError(f"the backend '{entry.backend}' has no such key any more")


@dataclass(frozen=True, slots=True)
class Rotated:
    """A new key, and when the one before it stops, in UTC: None if it has."""

    api_key: str = field(repr=False)
    old_stops_at: datetime | None


def rotate_key(
    validators: Validators,
    entries: Sequence[KeyEntry],
    overlap: timedelta = timedelta(),
    show: Callable[[str], object] = lambda _: None,
) -> Rotated:
    """Make a new key with the old one's owner, restrictions and limits; both work while they overlap.

    The overlap is stored as the old key's `expires_at`, never later than it had one, so that no
    worker has to remember anything. `show` gets the new key before the old one is stopped. Raises
    `WebCallError` for a key that is not active or was rotated before. If the new one cannot be shown, or
    the old one not be stopped, the new one is made unusable again.
    """
    entry = entries[0]
    if entry.state != "active":
        raise WebCallError(f"the key {entry.id} is {entry.state}: create a new one instead")
    successor = entry.record.get("replaced_by")
    if successor is not None:
        # What it would hand on is the end of its overlap.
        raise WebCallError(f"the key {entry.id} was replaced by {successor}: rotate that one")
    caller = caller_from_record(entry.record)
    unknown_kind = not entry.record.get("api_key_prefix") and not entry.record.get("api_key")
    if unknown_kind and (caller.allowed_origins or caller.native):
        # A page's key that came back as a secret one would be let out with the page.
        raise WebCallError(
            f"the record of the key {entry.id} does not say whether it is publishable (api_key_prefix): "
            "create a new one with --publishable, or without"
        )
    managers = [manager_of(validators, each.backend) for each in entries]
    api_key = new_api_key(publishable=caller.publishable)
    own = ("_id", "api_key", "api_key_hash")
    kept = {name: value for name, value in entry.record.items() if name not in own}
    managers[0].add_key(kept | fresh_fields(api_key))
    stops_at = datetime.now(UTC).replace(microsecond=0) + overlap if overlap else None
    try:
        show(api_key)
        for each, manager in zip(entries, managers, strict=True):
            _end(each, manager, stops_at, successor=api_key[:PREFIX_LENGTH])
    except Exception:
        with contextlib.suppress(Exception):
            managers[0].update_key(hash_api_key(api_key), {"is_active": False})
        raise
    own_end = expiry_of(entry.record)
    return Rotated(api_key, min(stops_at, own_end) if stops_at and own_end else stops_at)


def _end(entry: KeyEntry, manager: ManagesKeys, stops_at: datetime | None, *, successor: str) -> None:
    changes: dict[str, Any] = {"replaced_by": successor}
    if stops_at is None:
        changes["is_active"] = False
    elif (own_end := expiry_of(entry.record)) is None or stops_at < own_end:
        changes["expires_at"] = stops_at
    if not manager.update_key(entry.hash, changes):
        raise WebCallError(f"the backend '{entry.backend}' has no such key any more")


@dataclass
class Hashed:
    """What became of one backend's plain keys: how many are hashes now, and which could not be."""

    count: int
    faults: list[str]


def hash_plain_keys(validators: Validators) -> dict[str, Hashed]:
    """Replace plain keys of existing deployments by their hashes, in every backend that can write."""
    done: dict[str, Hashed] = {}
    for backend, validator in validators:
        if isinstance(validator, ManagesKeys):
            result = done[backend] = Hashed(0, [])
            for entry in list(list_keys([(backend, validator)])):
                if entry.record.get("api_key") is not None and entry.hash:
                    _hash_plain(validator, entry, result)
    return done


def _hash_plain(manager: ManagesKeys, entry: KeyEntry, result: Hashed) -> None:
    changes = {"api_key": None, "api_key_hash": entry.hash, "api_key_prefix": entry.id}
    try:
        result.count += manager.update_key(entry.hash, changes)
    except (Conflict, RecordError) as error:
        result.faults.append(f"{entry.id}: {error}")


def manager_of(validators: Validators, backend: str) -> ManagesKeys:
    """Return the backend's managing side; `WebCallError` that says which backends have one if not."""
    validator = dict(validators)[backend]
    if isinstance(validator, ManagesKeys):
        return validator
    able = [name for name, other in validators if isinstance(other, ManagesKeys)]
    raise read_only(backend, "key", able)
