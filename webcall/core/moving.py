"""Move house: records from one backend, or a file, to another. Functions; the commands are in `webcall.cli`.

What is there already is left as it is, so that a second run goes on where the first stopped. The one thing
that is always carried over is a "no": a key that the source has revoked, or lets end earlier, ends at the
target too, and one that has ended at the target is never revived. Nothing is ever deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from webcall.core.portable import Kind, Source, portable
from webcall.errors import BackendError, Conflict, RecordError
from webcall.interfaces import ManagesAssistants, ManagesKeys, Prepares, Record
from webcall.records import (
    check_assistant_record,
    check_key_record,
    expiry_of,
    is_active,
    key_hash_of,
    key_id_of,
)

T = TypeVar("T")

ID, OWNER = "assistant_id", "assistant_created_by_email"
ACTIVE, EXPIRES = "is_active", "expires_at"
LONG_AGO, NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass
class Moved:
    """What became of the records: counts, and each that was left out, by kind, name and why."""

    counts: dict[str, int] = field(default_factory=dict)
    left_out: list[tuple[Kind, str, str]] = field(default_factory=list)

    def count(self, what: str) -> None:
        """Count one record: `keys written`, `updated`, `revoked` or `there already`, for example."""
        self.counts[what] = self.counts.get(what, 0) + 1


class _There(NamedTuple):
    """What is known of a key at the target: of the record itself nothing is held."""

    digest: bytes
    ends: datetime
    fields: frozenset[str]


class Mover:
    """Brings records to a target, one after the other."""

    def __init__(
        self,
        keys: ManagesKeys | None = None,
        assistants: ManagesAssistants | None = None,
        *,
        only: Kind | None = None,
        update: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Take the target's sides; None for one that it does not have, whose records are left out.

        `only`: records of the other kind are passed over; `update`: what differs is written over;
        `dry_run`: nothing is written at all.
        """
        self._keys = keys
        self._assistants = assistants
        self._only = only
        self._update = update
        self._dry_run = dry_run
        self._there: dict[str, _There] = {}

    def move(self, source: Source, told: Callable[[int], None] = lambda _: None) -> Moved:
        """Bring every record of the source, and return what became of them.

        `told` is called with how many there were so far, after each. Raises `BackendError` for an outage:
        what was written until then stays, and another run goes on.
        """
        moved = Moved()
        if not self._dry_run:
            for side in (self._keys, self._assistants):
                if isinstance(side, Prepares):
                    side.prepare()
        self._there = self._known()
        for number, entry in enumerate(source.entries(), start=1):
            if self._only not in (None, entry.kind):
                continue
            try:
                outcome = self._key(entry.record) if entry.kind == "key" else self._assistant(entry.record)
            except (Conflict, RecordError) as error:
                name = name_of(entry.kind, entry.record)
                moved.left_out.append((entry.kind, name, " ".join(str(error).split())))
            else:
                moved.count(f"{entry.kind}s {outcome}")
                if outcome in ("written", "updated") and entry.as_text:
                    moved.count("records with times, ids and the like that became text")
            told(number)
        return moved

    def _key(self, record: Record) -> str:
        if self._keys is None:
            raise Conflict("the target keeps no keys")
        check_key_record(record)
        key_hash = str(key_hash_of(record))
        new, found = _seen(record), self._there.get(key_hash)
        if found is None:
            if not self._dry_run:
                self._keys.add_key(record)
            self._there[key_hash] = new
            return "written"
        now = datetime.now(UTC)
        if found.ends <= now:
            if new.ends > now:
                raise Conflict("this key has ended at the target, and a copy never revives one")
            return "there already"
        if new.ends == LONG_AGO:
            self._change_key(key_hash, {ACTIVE: False})
            self._there[key_hash] = found._replace(ends=LONG_AGO)
            return "revoked"
        if found.digest == new.digest and found.ends == new.ends:
            return "there already"
        if not self._update:
            if new.ends >= found.ends:
                raise Conflict("the target has another record of this key; --update writes over it")
            self._change_key(key_hash, {EXPIRES: record[EXPIRES]})
            self._there[key_hash] = found = found._replace(ends=new.ends)
            if found.digest == new.digest:
                return "ended earlier"
            raise Conflict("of this key's new record only its end was taken; --update writes the rest over")
        # Not its state: the target may have revoked it since.
        gone = dict.fromkeys(found.fields - new.fields)
        self._change_key(key_hash, {**gone, **{name: record[name] for name in new.fields}})
        self._there[key_hash] = new
        return "updated"

    def _change_key(self, key_hash: str, changes: Mapping[str, Any]) -> None:
        if self._keys is not None and not self._dry_run and not self._keys.update_key(key_hash, changes):
            raise BackendError("the target has no such key any more: run it again")

    def _known(self) -> dict[str, _There]:
        keys = self._keys
        if keys is None:
            return {}
        nothing: Iterable[Record] = ()
        found: dict[str, _There] = {}
        shared: dict[frozenset[str], frozenset[str]] = {}
        for record in self._looked(keys, lambda: _begun(keys.list_keys()), nothing):
            if key_hash := key_hash_of(record):
                seen = _seen(portable("key", record).record)
                there = seen._replace(fields=shared.setdefault(seen.fields, seen.fields))
                # An old key may stand there twice: a no counts.
                before = found.get(key_hash)
                found[key_hash] = there if before is None or there.ends < before.ends else before
        return found

    def _looked(self, side: object, look: Callable[[], T], empty: T) -> T:
        """Return what is found at the target; `empty` where a dry run finds it without its tables."""
        try:
            return look()
        except BackendError:
            if self._dry_run and isinstance(side, Prepares) and side.unprepared():
                return empty
            raise

    def _assistant(self, record: Record) -> str:
        if self._assistants is None:
            raise Conflict("the target keeps no assistants")
        check_assistant_record(record)
        target = self._assistants
        found = self._looked(target, lambda: target.find_assistant(record[ID]), None)
        if found is not None:
            if found.get(OWNER) != record[OWNER]:
                raise Conflict("another owner has this id at the target")
            if _digest(portable("assistant", found).record) == _digest(record):
                return "there already"
            if not self._update:
                raise Conflict("the target has another definition under this id; --update writes over it")
        if not self._dry_run:
            target.put_assistant(record)
        return "written" if found is None else "updated"


def name_of(kind: Kind, record: Record) -> str:
    """Return what a report calls a record: a key's id, never its hash, or an assistant's id."""
    found = key_id_of(record) if kind == "key" else record.get(ID)
    return found if isinstance(found, str) and found else "without a name"


def _begun(records: Iterable[Record]) -> Iterator[Record]:
    """Ask for the first record now, so that what fails does so here."""
    rest = iter(records)
    first = next(rest, None)

    def all_of_them() -> Iterator[Record]:
        if first is not None:
            yield first
            yield from rest

    return all_of_them()


def _seen(record: Record) -> _There:
    # A field that is None is as good as none. Whether and until when it is good is looked at by itself.
    fields = {name: value for name, value in record.items() if value is not None and name != ACTIVE}
    rest = {name: value for name, value in fields.items() if name != EXPIRES}
    return _There(_digest(rest), _end_of(record), frozenset(fields))


def _end_of(record: Record) -> datetime:
    """Return until when a key is good: `LONG_AGO` if it is revoked or unusable, `NEVER` if it has no end."""
    try:
        return (expiry_of(record) or NEVER) if is_active(record) else LONG_AGO
    except RecordError:
        return LONG_AGO


def _digest(record: Record) -> bytes:
    text = json.dumps(record, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()
