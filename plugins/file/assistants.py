"""Assistants in a file, or in a folder with a file each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plugins.file.editing import Edit, Plan, change_file, change_folder, is_folder
from plugins.file.keys import DEGRADED
from plugins.file.parsing import ASSISTANTS
from plugins.file.watch import Source
from webcall import Assistant, Caller, Conflict
from webcall.interfaces import Record
from webcall.records import as_json_value, assistant_from_json, check_assistant_record


class FileAssistants:
    """The assistants of one YAML or JSON file (a list of records), or of a folder (a record in each).

    `may_be_missing`: the path is nobody's choice, so that no file means no assistants yet.
    """

    def __init__(self, path: Path, *, may_be_missing: bool = False) -> None:
        self._source = Source(path, ASSISTANTS, may_be_missing=may_be_missing)

    def get(self, assistant_id: str, caller: Caller) -> Assistant | None:
        """Return the caller's assistant; None if it is unknown or another owner's.

        Raises `Refused` if it is inactive and `BackendError` if the file never was usable.
        """
        text = self._source.snapshot().find_text(assistant_id, caller.email)
        return None if text is None else assistant_from_json(text)

    def ping(self) -> str | None:
        """Raise `BackendError` if there is nothing to serve; return a reason if it is not the newest."""
        self._source.snapshot()
        return DEGRADED if self._source.fault() else None

    def close(self) -> None:
        """End a reload that runs."""
        self._source.close()

    def put_assistant(self, record: Record) -> None:
        """Store or replace it, making the file or the folder if need be.

        A path that is not there yet becomes a file if it ends in .yaml, .yml or .json, else a folder.
        Raises `Conflict` if another owner has the id, `RecordError` if the record cannot be used, and
        `BackendError` if nothing can be written or what is stored cannot be used.
        """
        new = as_json_value(record)
        check_assistant_record(new)

        def plan(records: list[Any]) -> Edit:
            position = _position(records, new["assistant_id"])
            if position is not None:
                owner = records[position]["assistant_created_by_email"]
                if owner != new["assistant_created_by_email"]:
                    raise Conflict("another owner has an assistant with this id")
            return Edit(position, new)

        self._change(plan)

    def list_assistants(self) -> Iterable[Record]:
        """Return every record, in the file's order or by the files' names. Raises as `get`."""
        return self._source.snapshot().records()

    def page_of_assistants(self, caller: Caller, after: str, limit: int) -> list[Record]:
        """Return at most `limit` of the caller's records with ids past `after`, sorted by id.

        Raises as `get`.
        """
        return self._source.snapshot().page(caller.email, after, limit)

    def find_assistant(self, assistant_id: str) -> Record | None:
        """Return the record, whoever owns it. Raises as `get`."""
        return self._source.snapshot().find(assistant_id)

    def delete_assistant(self, assistant_id: str) -> bool:
        """Remove it. Returns whether it was there. Raises `BackendError` as `put_assistant`."""
        self._source.snapshot()
        found = False

        def plan(records: list[Any]) -> Edit | None:
            nonlocal found
            position = _position(records, assistant_id)
            found = position is not None
            return Edit(position, None) if found else None

        self._change(plan)
        return found

    def _change(self, plan: Plan) -> None:
        path = self._source.path
        (change_folder if is_folder(path) else change_file)(path, ASSISTANTS, plan)
        self._source.refresh()


def _position(records: list[Any], assistant_id: str) -> int | None:
    return next((at for at, each in enumerate(records) if each["assistant_id"] == assistant_id), None)
