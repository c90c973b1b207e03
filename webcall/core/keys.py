"""Manage API keys through whichever backend holds them. Functions; the commands are in `webcall.cli`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webcall.core.limits import assistant_id_fits
from webcall.core.lookup import unenforceable
from webcall.errors import Conflict, RecordError, Refused, WebCallError
from webcall.interfaces import ListsKeys, ManagesKeys, Record
from webcall.records import (
    PREFIX_LENGTH,
    caller_from_record,
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
        """`active`, or why it is not: `revoked`, `expired`, `unusable`, `unsupported`.

        `unsupported` keys have restrictions that this version cannot enforce, so it refuses them.
        """
        try:
            caller = caller_from_record(self.record)
        except Refused as error:
            return str(error)
        except RecordError:
            return "unusable"
        if unenforceable(caller):
            return "unsupported"
        return "active" if self.hash else "unusable"


def create_key(
    manager: ManagesKeys,
    *,
    owner: str,
    name: str | None = None,
    org: str | None = None,
    expires_at: datetime | None = None,
    assistants: Sequence[str] = (),
) -> str:
    """Store a new key and return it: the only time that it is seen. No `assistants` means all.

    Raises `WebCallError` for an owner or an assistant's id that could never match.
    """
    if not owner or owner != owner.strip():
        raise WebCallError("the owner is empty or has white space around it: give the assistants' owner")
    for assistant_id in assistants:
        if assistant_id != assistant_id.strip() or not assistant_id_fits(assistant_id):
            raise WebCallError("an assistant's id is empty, too long, or has white space around it")
    api_key = new_api_key()
    record = {
        "user_email": owner,
        "user_name": name,
        "org_name": org,
        "expires_at": expires_at,
        "allowed_assistants": list(dict.fromkeys(assistants)) or None,
    }
    manager.add_key(_fresh(api_key) | {field: value for field, value in record.items() if value is not None})
    return api_key


def _fresh(api_key: str) -> dict[str, Any]:
    return {
        "api_key_hash": hash_api_key(api_key),
        "api_key_prefix": api_key[:PREFIX_LENGTH],
        "created_at": datetime.now(UTC).replace(microsecond=0),
        "is_active": True,
    }


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
    whole = id_or_hash.startswith(("lvk_", "lvp_")) and len(id_or_hash) > PREFIX_LENGTH
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
        raise WebCallError("the record of this key has neither api_key_hash nor api_key: mend it first")
    return found


def revoke_key(validators: Validators, entries: Sequence[KeyEntry]) -> None:
    """Make a key unusable wherever it is stored; its records stay.

    Raises `WebCallError`, and changes nothing, if one of the backends cannot.
    """
    managers = [manager_of(validators, entry.backend) for entry in entries]
    for entry, manager in zip(entries, managers, strict=True):
        if not manager.update_key(entry.hash, {"is_active": False}):
            raise WebCallError(f"the backend '{entry.backend}' has no such key any more")


def rotate_key(validators: Validators, entries: Sequence[KeyEntry]) -> str:
    """Return a new key with the old one's owner and limits; the old one stops at once.

    Raises `WebCallError` for a key that is not active. If the old one cannot be stopped, the new one
    is made unusable again.
    """
    entry = entries[0]
    if entry.state != "active":
        raise WebCallError(f"the key {entry.id} is {entry.state}: create a new one instead")
    managers = [manager_of(validators, each.backend) for each in entries]
    api_key = new_api_key()
    own = ("_id", "api_key", "api_key_hash")
    kept = {field: value for field, value in entry.record.items() if field not in own}
    managers[0].add_key(kept | _fresh(api_key))
    try:
        revoke_key(validators, entries)
    except Exception:
        with contextlib.suppress(Exception):
            managers[0].update_key(hash_api_key(api_key), {"is_active": False})
        raise
    return api_key


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
    others = f"; of those in use, {' and '.join(able)} can be written to" if able else ""
    raise WebCallError(f"the backend '{backend}' is read-only: change the key where it is set{others}")
