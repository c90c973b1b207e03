"""Move house: records from one backend, or a file, to another. Functions; the commands are in `webcall.cli`.

What is there already is left as it is, so that a second run goes on where the first stopped. The one thing
that is always carried over is a "no": a key that the source has revoked is revoked at the target, and one
that the target has revoked is never revived. Nothing is ever deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from webcall.errors import BackendError, Conflict, RecordError, WebCallError
from webcall.interfaces import ListsAssistants, ListsKeys, ManagesAssistants, ManagesKeys, Prepares, Record
from webcall.records import (
    as_json_value,
    check_assistant_record,
    check_key_record,
    hash_api_key,
    is_active,
    key_hash_of,
    key_id_of,
)

T = TypeVar("T")

Kind = Literal["key", "assistant"]
ID, OWNER, ACTIVE = "assistant_id", "assistant_created_by_email", "is_active"

# What only its own database means something by, and what no other place may have in plain.
_LEFT_BEHIND = ("_id", "api_key")


class Source(Protocol):
    """Where records come from, in the forms that JSON has."""

    def records(self) -> Iterator[tuple[Kind, Record]]:
        """Yield every record with its kind."""
        ...


@dataclass
class Moved:
    """What became of the records: counts, and each that was left out, by kind, name and why."""

    counts: dict[str, int] = field(default_factory=dict)
    left_out: list[tuple[Kind, str, str]] = field(default_factory=list)

    def count(self, kind: Kind, outcome: str) -> None:
        """Count one record: `written`, `updated`, `revoked` or `there already`."""
        name = f"{kind}s {outcome}"
        self.counts[name] = self.counts.get(name, 0) + 1


class BackendSource:
    """The records of a backend that can list them, either side or both."""

    def __init__(self, name: str, keys: Any = None, assistants: Any = None) -> None:
        """Take the sides; None for one that is not wanted. Raises `WebCallError` if one cannot list."""
        for side, can, what in ((keys, ListsKeys, "keys"), (assistants, ListsAssistants, "assistants")):
            if side is not None and not isinstance(side, can):
                raise WebCallError(
                    f"the backend '{name}' cannot list its {what}: nothing can be copied from it"
                )
        self._keys = keys
        self._assistants = assistants

    def records(self) -> Iterator[tuple[Kind, Record]]:
        """Yield every record with its kind, keys first, as it can be stored elsewhere."""
        for record in self._keys.list_keys() if self._keys is not None else ():
            yield "key", portable_key(record)
        for record in self._assistants.list_assistants() if self._assistants is not None else ():
            yield "assistant", portable(record)


def portable(record: Record) -> dict[str, Any]:
    """Return a record as any backend can store it: in the forms of JSON, without a database's own `_id`."""
    kept = {name: value for name, value in record.items() if name not in _LEFT_BEHIND}
    found: dict[str, Any] = as_json_value(kept)
    return found


def portable_key(record: Record) -> dict[str, Any]:
    """Return a key's record as any backend can store it: a plain key becomes its hash and its id."""
    found = portable(record)
    plain = record.get("api_key")
    if isinstance(plain, str) and plain:
        found["api_key_hash"] = record.get("api_key_hash") or hash_api_key(plain)
        found.setdefault("api_key_prefix", key_id_of(record))
    return found


class Mover:
    """Brings records to a target, one after the other."""

    def __init__(
        self,
        name: str,
        keys: Any = None,
        assistants: Any = None,
        *,
        update: bool = False,
        dry_run: bool = False,
    ) -> None:
        """Take the target's sides; None for one that is not wanted.

        `update`: what differs is written over; `dry_run`: nothing is written at all. Raises
        `WebCallError` if a side cannot be written to.
        """
        for side, can, what in ((keys, ManagesKeys, "keys"), (assistants, ManagesAssistants, "assistants")):
            if side is not None and not isinstance(side, can):
                raise WebCallError(
                    f"the backend '{name}' is read-only: it takes no {what}; file, mongo and sql do"
                )
        self._keys: ManagesKeys | None = keys
        self._assistants: ManagesAssistants | None = assistants
        self._update = update
        self._dry_run = dry_run
        # Of each key at the target: what its record comes to, and whether it is active. No record is held.
        self._there: dict[str, tuple[bytes, bool]] | None = None

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
        for number, (kind, record) in enumerate(source.records(), start=1):
            try:
                outcome = self._key(record) if kind == "key" else self._assistant(record)
            except (Conflict, RecordError) as error:
                moved.left_out.append((kind, name_of(kind, record), " ".join(str(error).split())))
            else:
                if outcome is not None:
                    moved.count(kind, outcome)
            told(number)
        return moved

    def _key(self, record: Record) -> str | None:
        if self._keys is None:
            return None
        check_key_record(record)
        active = is_active(record)
        key_hash = str(key_hash_of(record))
        there = self._known_keys(self._keys)
        found = there.get(key_hash)
        digest = _digest(record)
        if found is None:
            if not self._dry_run:
                self._keys.add_key(record)
            there[key_hash] = (digest, active)
            return "written"
        if found[0] == digest or not (found[1] or active):
            return "there already"
        if found[1] and not active:
            self._change_key(self._keys, key_hash, {ACTIVE: False})
            there[key_hash] = (b"", False)
            return "revoked"
        if not found[1]:
            raise Conflict("the target has revoked this key, and a copy never revives one")
        if not self._update:
            raise Conflict("the target has another record of this key; --update writes over it")
        self._change_key(self._keys, key_hash, record)
        return "updated"

    def _change_key(self, keys: ManagesKeys, key_hash: str, changes: Mapping[str, Any]) -> None:
        if not self._dry_run and not keys.update_key(key_hash, changes):
            raise BackendError("the target has no such key any more: run it again")

    def _known_keys(self, keys: ManagesKeys) -> dict[str, tuple[bytes, bool]]:
        if self._there is None:
            nothing: list[tuple[str, tuple[bytes, bool]]] = []
            self._there = dict(self._looked(keys, lambda: list(_known(keys)), nothing))
        return self._there

    def _looked(self, side: object, look: Callable[[], T], empty: T) -> T:
        """Return what is found at the target; `empty` where a dry run finds it without its tables."""
        try:
            return look()
        except BackendError:
            if self._dry_run and isinstance(side, Prepares) and side.unprepared():
                return empty
            raise

    def _assistant(self, record: Record) -> str | None:
        if self._assistants is None:
            return None
        check_assistant_record(record)
        target = self._assistants
        found = self._looked(target, lambda: target.find_assistant(record[ID]), None)
        if found is not None:
            if found.get(OWNER) != record[OWNER]:
                raise Conflict("another owner has this id at the target")
            if _digest(portable(found)) == _digest(record):
                return "there already"
            if not self._update:
                raise Conflict("the target has another definition under this id; --update writes over it")
        if not self._dry_run:
            self._assistants.put_assistant(record)
        return "written" if found is None else "updated"


def name_of(kind: Kind, record: Record) -> str:
    """Return what a report calls a record: a key's id, never its hash, or an assistant's id."""
    found = key_id_of(record) if kind == "key" else record.get(ID)
    return found if isinstance(found, str) and found else "without a name"


def _known(keys: ManagesKeys) -> Iterator[tuple[str, tuple[bytes, bool]]]:
    for record in keys.list_keys():
        if key_hash := key_hash_of(record):
            yield key_hash, (_digest(portable_key(record)), _is_active(record))


def _is_active(record: Record) -> bool:
    try:
        return is_active(record)
    except RecordError:
        return False


def _digest(record: Record) -> bytes:
    text = json.dumps(record, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


HEADER = {"webcall_records": 1}
"""The first line of an exported file: what it is, and the version of its form."""


def export_lines(source: Source) -> Iterator[str]:
    """Yield the lines of an exported file, each a JSON object, without their ends.

    Prompts and hashes of keys are in them, and no plain key.
    """
    yield json.dumps(HEADER)
    for kind, record in source.records():
        yield json.dumps({"kind": kind, "record": record}, ensure_ascii=True)


class ImportSource:
    """The records of an exported file, checked whole before the first is taken."""

    def __init__(self, open_lines: Callable[[], Iterable[str]]) -> None:
        """Take what opens the file's lines, from the first on, each time that it is called.

        Raises `WebCallError` that names the lines that cannot be used, by number and without quoting them.
        """
        self._open_lines = open_lines
        faults = [fault for fault, _ in self._read() if fault]
        if faults:
            more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
            raise WebCallError(f"nothing was imported: {'; '.join(faults[:5])}{more}")

    def records(self) -> Iterator[tuple[Kind, Record]]:
        """Yield every record with its kind."""
        for _, found in self._read():
            if found is not None:
                yield found

    def _read(self) -> Iterator[tuple[str, tuple[Kind, Record] | None]]:
        lines = iter(self._open_lines())
        if _parsed(next(lines, "")) != HEADER:
            yield "line 1: not the header of a file that `flask webcall records export` wrote", None
            return
        for number, line in enumerate(lines, start=2):
            if line.strip():
                yield _record_of(number, _parsed(line))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _record_of(number: int, entry: Any) -> tuple[str, tuple[Kind, Record] | None]:
    if not isinstance(entry, dict) or entry.keys() != {"kind", "record"}:
        return f"line {number}: not an object of kind and record", None
    kind, record = entry["kind"], entry["record"]
    if kind not in ("key", "assistant") or not isinstance(record, dict):
        return f"line {number}: neither a key nor an assistant", None
    if kind == "key" and record.get("api_key") is not None:
        return f"line {number}: a key in plain, which no backend stores", None
    try:
        (check_key_record if kind == "key" else check_assistant_record)(record)
    except RecordError as error:
        return f"line {number}: {error}", None
    return "", (kind, record)
