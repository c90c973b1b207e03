"""Manage API keys through whichever backend holds them. Functions; the commands are in `webcall.cli`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webcall.errors import RecordError, Refused, WebCallError
from webcall.interfaces import ListsKeys, ManagesKeys, Record
from webcall.records import PREFIX_LENGTH, caller_from_record, hash_api_key, key_hash_of, new_api_key

Validators = Sequence[tuple[str, Any]]


@dataclass(frozen=True)
class KeyEntry:
    """A stored key: where it is, what it is called, and its record."""

    backend: str
    id: str
    hash: str
    record: Record

    @property
    def state(self) -> str:
        """`active`, or why it is not: `revoked`, `expired`, `unusable`."""
        try:
            caller_from_record(self.record)
        except Refused as error:
            return "revoked" if "revoked" in str(error) else "expired"
        except RecordError:
            return "unusable"
        return "active"


def create_key(
    manager: ManagesKeys,
    *,
    owner: str,
    name: str | None = None,
    org: str | None = None,
    expires_at: datetime | None = None,
    assistants: Sequence[str] = (),
) -> str:
    """Store a new key and return it: the only time that it is seen. No `assistants` means all."""
    api_key = new_api_key()
    record = {
        "user_email": owner,
        "user_name": name,
        "org_name": org,
        "expires_at": expires_at,
        "allowed_assistants": list(assistants) or None,
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
                key_hash = key_hash_of(record) or ""
                plain = str(record.get("api_key") or "")
                prefix = record.get("api_key_prefix") or plain[:PREFIX_LENGTH] or key_hash[:PREFIX_LENGTH]
                yield KeyEntry(backend, str(prefix), key_hash, record)


def find_key(validators: Validators, id_or_hash: str) -> KeyEntry:
    """Return the one key whose id, or the beginning of whose hash, is `id_or_hash`.

    Raises `WebCallError` if there is none, or if there are several.
    """
    if id_or_hash.startswith(("lvk_", "lvp_")) and len(id_or_hash) > PREFIX_LENGTH:
        raise WebCallError(
            f"give the first {PREFIX_LENGTH} characters only: a key does not belong in a command"
        )
    found = [
        entry
        for entry in list_keys(validators)
        if entry.id == id_or_hash or (len(id_or_hash) >= 8 and entry.hash.startswith(id_or_hash))
    ]
    if not found:
        raise WebCallError(f"no key has the id {id_or_hash}; `flask webcall keys list` shows them")
    if len(found) > 1:
        hashes = ", ".join(entry.hash[:PREFIX_LENGTH] for entry in found)
        raise WebCallError(f"{len(found)} keys have the id {id_or_hash}; say which by its hash: {hashes}")
    return found[0]


def revoke_key(validators: Validators, entry: KeyEntry) -> None:
    """Make a key unusable; its record stays. Raises `WebCallError` if its backend cannot."""
    _manager(validators, entry.backend).update_key(entry.hash, {"is_active": False})


def rotate_key(validators: Validators, entry: KeyEntry) -> str:
    """Return a new key with the old one's owner and limits; the old one stops at once."""
    if entry.state != "active":
        raise WebCallError(f"the key {entry.id} is {entry.state}: create a new one instead")
    manager = _manager(validators, entry.backend)
    api_key = new_api_key()
    own = ("_id", "api_key", "api_key_hash")
    kept = {field: value for field, value in entry.record.items() if field not in own}
    manager.add_key(kept | _fresh(api_key))
    manager.update_key(entry.hash, {"is_active": False})
    return api_key


def hash_plain_keys(validators: Validators) -> dict[str, int]:
    """Replace plain keys of existing deployments by their hashes; return how many, by backend."""
    done: dict[str, int] = {}
    for backend, validator in validators:
        if isinstance(validator, ManagesKeys):
            done[backend] = 0
            for record in list(validator.list_keys()):
                plain = record.get("api_key")
                if isinstance(plain, str) and plain:
                    hashed = hash_api_key(plain)
                    prefix = record.get("api_key_prefix") or plain[:PREFIX_LENGTH]
                    changes = {"api_key": None, "api_key_hash": hashed, "api_key_prefix": prefix}
                    done[backend] += validator.update_key(hashed, changes)
    return done


def _manager(validators: Validators, backend: str) -> ManagesKeys:
    validator = dict(validators)[backend]
    if not isinstance(validator, ManagesKeys):
        raise WebCallError(f"the backend '{backend}' is read-only: change the key where it is set")
    return validator
