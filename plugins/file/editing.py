"""Read, modify, write: one change to the records of a file or a folder, under its lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from plugins.file.indexing import folder_records
from plugins.file.parsing import Kind, checked, parse, placed, read_text, records_of
from plugins.file.rendering import rendered_list, rendered_record
from plugins.file.survey import ENDINGS
from plugins.file.writing import replace_file, sync_folder, writing
from webcall.interfaces import Record

LOCK_NAME = ".lock"
MAX_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: `record` put at `position` of the list (None: behind the last); None removes."""

    position: int | None
    record: Record | None


Plan = Callable[[list[Any]], Edit | None]
"""Decides on a change when it has seen the records as they are under the lock."""


def is_folder(path: Path) -> bool:
    """Tell whether a path of assistants is a folder; one that is not there is, if it has no ending."""
    return path.is_dir() or (not path.exists() and path.suffix.lower() not in ENDINGS)


def change_file(path: Path, kind: Kind, plan: Plan) -> None:
    """Change a file that holds a list, making it if need be.

    Raises `BackendError` if it cannot be read or written, and `RecordError` if what it holds, or
    would hold, cannot be used.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    with writing(path, path.with_name(f".{path.name}{LOCK_NAME}")):
        text = read_text(path) if path.exists() else ""
        before = [record for _, record in checked(placed(records_of(parse(text, path), path), path), kind)]
        edit = plan(before)
        if edit is None:
            return
        after = list(before)
        if edit.record is None:
            del after[_position(edit)]
        elif edit.position is None:
            after.append(edit.record)
        else:
            after[edit.position] = edit.record
        if after != before:
            replace_file(path, rendered_list(path, text, before, after, edit.position))


def change_folder(folder: Path, kind: Kind, plan: Plan) -> None:
    """Change a folder with a file for each record, making it if need be. Raises as `change_file`."""
    with writing(folder, folder / LOCK_NAME):
        found = list(folder_records(folder))
        before = [record for _, record in checked(((str(file), record) for file, record in found), kind)]
        edit = plan(before)
        if edit is None:
            return
        if edit.record is None:
            found[_position(edit)][0].unlink()
            sync_folder(folder)
        elif edit.position is None:
            path = _free_path(folder, str(kind.identify(edit.record)))
            replace_file(path, rendered_record(path, "", {}, edit.record))
        elif edit.record != before[edit.position]:
            path = Path(os.path.realpath(found[edit.position][0]))
            text = read_text(path)
            replace_file(path, rendered_record(path, text, before[edit.position], edit.record))


def _position(edit: Edit) -> int:
    if edit.position is None:
        raise ValueError("nothing to remove")
    return edit.position


def _free_path(folder: Path, key: str) -> Path:
    """Return a path for a new record: its key with all but letters, digits, `_`, `-`, `~` and `.` escaped."""
    name = quote(key, safe="", errors="surrogatepass")
    if name.startswith("."):
        name = "%2E" + name[1:]  # a hidden file would not be read
    path = folder / f"{name}.yaml"
    # A name may also be taken by a hand-made file, or by one that differs in case where that is the same.
    if len(name) > MAX_NAME_LENGTH or path.exists():
        # No escaped key begins like this.
        path = folder / f"%sha256-{sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}.yaml"
    return path
