"""API keys in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from plugins.file.editing import Edit, Plan, change_file
from plugins.file.parsing import KEYS
from plugins.file.watch import Source
from webcall import Caller, Conflict, RecordError
from webcall.interfaces import Record
from webcall.records import (
    as_json_value,
    caller_from_json,
    check_key_record,
    hash_api_key,
    key_hash_of,
)

DEGRADED = "its newest contents cannot be used; the log says why"


class FileKeys:
    """The keys of one YAML or JSON file: a list of records.

    `may_be_missing`: the path is nobody's choice, so that no file means no keys yet, not an outage.
    """

    def __init__(self, path: Path, *, may_be_missing: bool = False) -> None:
        self._source = Source(path, KEYS, may_be_missing=may_be_missing)

    def validate(self, api_key: str) -> Caller | None:
        """Return whose key it is, or None.

        Raises `Refused` if it is revoked or expired and `BackendError` if the file never was usable.
        """
        text = self._source.snapshot().find_text(hash_api_key(api_key))
        return None if text is None else caller_from_json(text)

    def ping(self) -> str | None:
        """Raise `BackendError` if there is nothing to serve; return a reason if it is not the newest."""
        self._source.snapshot()
        return DEGRADED if self._source.fault() else None

    def close(self) -> None:
        """End a reload that runs."""
        self._source.close()

    def add_key(self, record: Record) -> None:
        """Store a new key, making the file if need be.

        Raises `Conflict` if its hash is there, `RecordError` for a plain `api_key` or an unusable
        record, and `BackendError` if the file cannot be written or what it holds cannot be used.
        """
        if record.get("api_key"):
            raise RecordError("API key record: api_key: is never written; store its hash as api_key_hash")
        new = as_json_value(record)
        check_key_record(new)

        def plan(records: list[Any]) -> Edit:
            if key_hash_of(new) in map(key_hash_of, records):
                raise Conflict("an API key with this hash is there already")
            return Edit(None, new)

        self._change(plan)

    def list_keys(self) -> Iterable[Record]:
        """Return every record, in the file's order; times are RFC 3339 text. Raises as `validate`."""
        return self._source.snapshot().records()

    def update_key(self, key_hash: str, changes: Mapping[str, Any]) -> bool:
        """Set fields of the record with this hash, or whose plain key has it; None removes a field.

        Returns whether there is such a record. Raises as `add_key`.
        """
        self._source.snapshot()
        found = False

        def plan(records: list[Any]) -> Edit | None:
            nonlocal found
            hashes = [key_hash_of(each) for each in records]
            if key_hash not in hashes:
                return None
            found = True
            position = hashes.index(key_hash)
            fields = {**records[position], **as_json_value(changes)}
            new = {name: value for name, value in fields.items() if name not in changes or value is not None}
            check_key_record(new)
            if key_hash_of(new) in hashes[:position] + hashes[position + 1 :]:
                raise Conflict("another API key with this hash is there already")
            return Edit(position, new)

        self._change(plan)
        return found

    def _change(self, plan: Plan) -> None:
        change_file(self._source.path, KEYS, plan)
        self._source.refresh()
