"""What the commands about keys rest on, over backends in memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webcall.core import keys
from webcall.errors import BackendError, Conflict, WebCallError
from webcall.interfaces import Record
from webcall.records import expiry_of, hash_api_key, key_hash_of

OWNER = "ada@example.com"
TWINS = ("lvk_twin0000" + "a" * 35, "lvk_twin0000" + "b" * 35)
SHORT = "hunter2-key"


class ListedKeys:
    """A read-only validator in memory."""

    def __init__(self, *records: Record) -> None:
        self.records = [dict(record) for record in records]

    def list_keys(self) -> list[Record]:
        return list(self.records)


class MemoryKeys(ListedKeys):
    """A validator in memory that can be written to, and made to fail."""

    fails_to_update: tuple[str, ...] = ()

    def add_key(self, record: Record) -> None:
        self.records.append(dict(record))

    def update_key(self, key_hash: str, changes: Mapping[str, Any]) -> bool:
        if key_hash in self.fails_to_update:
            raise BackendError("down")
        found = [record for record in self.records if key_hash_of(record) == key_hash]
        hashes = [record.get("api_key_hash") for record in self.records]
        if "api_key" in changes and changes["api_key_hash"] in hashes and key_hash not in hashes[:1]:
            raise Conflict("another API key with this hash is stored already")
        for record in found:
            record.update(changes)
            for name in [name for name, value in changes.items() if value is None]:
                del record[name]
        return bool(found)


def hashed(api_key: str, **fields: Any) -> dict[str, Any]:
    """Return the record of a key as the service stores it."""
    stored = {"api_key_hash": hash_api_key(api_key), "api_key_prefix": api_key[:12], "user_email": OWNER}
    return stored | fields


def test_an_ambiguous_id_is_told_apart_by_the_hash() -> None:
    """Keys with a common prefix are named by their hashes, the beginning of which finds each."""
    validators = [("a", MemoryKeys(hashed(TWINS[0]))), ("b", MemoryKeys(hashed(TWINS[1])))]
    with pytest.raises(WebCallError, match="2 keys have this id") as caught:
        keys.find_key(validators, "lvk_twin0000")
    for twin, backend in zip(TWINS, "ab", strict=True):
        shown = hash_api_key(twin)[:12]
        assert shown in str(caught.value)
        [entry] = keys.find_key(validators, shown)
        assert entry.backend == backend


def test_a_key_in_two_backends_is_one_key() -> None:
    """Revoking it stops it in both, so that no backend revives it."""
    first, second = MemoryKeys(hashed(TWINS[0])), MemoryKeys(hashed(TWINS[0]), hashed(TWINS[1]))
    validators = [("a", first), ("b", second)]
    keys.revoke_key(validators, keys.find_key(validators, hash_api_key(TWINS[0])[:12]))
    assert [record.get("is_active") for record in first.records + second.records] == [False, False, None]


def test_a_key_that_a_read_only_backend_has_too_is_left_alone() -> None:
    """Where one of its places cannot be changed, nothing is, and the others are named."""
    writable, fixed = MemoryKeys(hashed(TWINS[0])), ListedKeys(hashed(TWINS[0]))
    validators = [("a", writable), ("b", fixed)]
    with pytest.raises(WebCallError, match=r"'b' is read-only.*a can be written to"):
        keys.revoke_key(validators, keys.find_key(validators, "lvk_twin0000"))
    assert "is_active" not in writable.records[0]


@pytest.mark.parametrize(
    "record",
    [
        {"api_key": SHORT},
        {"api_key": SHORT, "api_key_prefix": SHORT},
        {"api_key_hash": hash_api_key(SHORT), "api_key_prefix": SHORT},
    ],
)
def test_a_short_old_key_is_never_its_own_id(record: dict[str, Any]) -> None:
    """Of a short key the id is from its hash, before hash-plain and after, whatever the stored prefix is."""
    validators = [("a", MemoryKeys({"user_email": OWNER} | record))]
    for _ in range(2):
        [entry] = keys.list_keys(validators)
        assert entry.id == hash_api_key(SHORT)[:12]
        with pytest.raises(WebCallError, match="keys do not belong in a command"):
            keys.find_key(validators, SHORT)
        keys.hash_plain_keys(validators)
    if "api_key" in record:
        assert SHORT not in repr(validators[0][1].records)


def test_hash_plain_tells_what_it_could_not_do() -> None:
    """A plain key that stands there as a hash too stays, is told of, and keeps no other from being hashed."""
    manager = MemoryKeys(hashed(TWINS[0]), {"api_key": "x" * 30}, hashed(TWINS[1]), {"api_key": TWINS[1]})
    done = keys.hash_plain_keys([("a", manager), ("b", ListedKeys({"api_key": "y" * 30}))])
    assert set(done) == {"a"}
    assert done["a"].count == 1
    [fault] = done["a"].faults
    assert fault == f"{TWINS[1][:12]}: another API key with this hash is stored already"


def test_a_leftover_beside_a_hash_is_removed() -> None:
    """A plain key beside the hash of another one is removed, and the hash stays what it is."""
    manager = MemoryKeys({"api_key": "old", "api_key_hash": hash_api_key("new"), "user_email": OWNER})
    assert keys.hash_plain_keys([("a", manager)])["a"].count == 1
    assert manager.records[0]["api_key_hash"] == hash_api_key("new")
    assert "api_key" not in manager.records[0]


def test_a_rotation_that_fails_leaves_no_second_key() -> None:
    """If the old key cannot be stopped, the new one does not work either."""
    manager = MemoryKeys(hashed(TWINS[0]))
    manager.fails_to_update = (hash_api_key(TWINS[0]),)
    validators = [("a", manager)]
    with pytest.raises(BackendError):
        keys.rotate_key(validators, keys.find_key(validators, "lvk_twin0000"))
    assert [entry.state for entry in keys.list_keys(validators)] == ["active", "revoked"]


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "active"),
        ({"is_active": False}, "revoked"),
        ({"expires_at": "2020-01-01"}, "expired"),
        ({"user_email": None}, "unusable"),
        ({"allowed_assistants": "helper"}, "unusable"),
        ({"allowed_origins": [], "allowed_metadata": ["name"]}, "active"),
        ({"api_key_prefix": "lvp_12345678"}, "unusable"),
        ({"native": True}, "unusable"),
        ({"native": True, "allowed_assistants": ["helper"]}, "active"),
    ],
)
def test_states(fields: dict[str, Any], state: str) -> None:
    """A key is active only if the service would take it, and only such a key is rotated."""
    validators = [("a", MemoryKeys(hashed(TWINS[0]) | fields))]
    [entry] = keys.list_keys(validators)
    assert entry.state == state
    if state != "active":
        with pytest.raises(WebCallError, match=f"is {state}: create a new one instead"):
            keys.rotate_key(validators, [entry])


NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("own_end", "stops_at"),
    [
        (None, NOON + DAY),
        ("2026-06-03", NOON + DAY),
        ("2026-06-02T00:00:00Z", NOON + DAY / 2),
        (datetime.max, NOON + DAY),
    ],
)
def test_an_overlap_ends_no_later_than_the_key(
    own_end: object, stops_at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old key's end is the overlap's or its own, whichever comes first; the new one has its own end."""

    class Noon(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return NOON

    monkeypatch.setattr("webcall.core.keys.datetime", Noon)
    monkeypatch.setattr("webcall.records._now", lambda: NOON)
    first, second = MemoryKeys(hashed(TWINS[0], expires_at=own_end)), MemoryKeys(hashed(TWINS[0]))
    validators = [("a", first), ("b", second)]
    rotated = keys.rotate_key(validators, keys.find_key(validators, "lvk_twin0000"), DAY)
    assert rotated.old_stops_at == stops_at
    old, new = first.records
    assert expiry_of(old) == stops_at
    assert expiry_of(second.records[0]) == NOON + DAY
    assert new["expires_at"] == own_end
    assert [entry.state for entry in keys.list_keys(validators)] == ["active"] * 3
    assert rotated.api_key not in repr(rotated)
    with pytest.raises(WebCallError, match=f"was replaced by {rotated.api_key[:12]}: rotate that one"):
        keys.rotate_key(validators, keys.find_key(validators, "lvk_twin0000"), DAY)


def test_a_publishable_key_is_replaced_by_one() -> None:
    """With its restrictions, a key for pages stays one; so does an old one that its record calls native."""
    limits: dict[str, Any] = {"allowed_assistants": ["a"], "allowed_metadata": [], "rate_limit": "5/minute"}
    for old in (hashed("lvp_" + "p" * 43, allowed_origins=["https://a.example"]), hashed(SHORT, native=True)):
        validators = [("a", MemoryKeys(old | limits))]
        [entry] = keys.list_keys(validators)
        rotated = keys.rotate_key(validators, [entry])
        assert rotated.api_key.startswith("lvp_")
        assert rotated.old_stops_at is None
        new = validators[0][1].records[1]
        assert limits.items() <= new.items()
        assert "replaced_by" not in new


def test_a_record_without_a_key_cannot_be_meant() -> None:
    """An empty id finds nothing, and a record without hash and key says what it lacks."""
    validators = [("a", MemoryKeys({"user_email": OWNER}, {"user_email": OWNER, "api_key_prefix": "lost"}))]
    with pytest.raises(WebCallError, match="no key has this id"):
        keys.find_key(validators, "")
    with pytest.raises(WebCallError, match="neither api_key_hash nor api_key"):
        keys.find_key(validators, "lost")
