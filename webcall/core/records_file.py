"""The file of `records export` and `records import`: JSON lines, a header first. Functions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from webcall.core.portable import Entry, Source
from webcall.errors import WebCallError
from webcall.strict import distinct

HEADER = {"webcall_records": 1}
"""The first line: what the file is, and the version of its form."""

# Of a file's faulty lines so many are told.
TOLD = 5


def export_lines(source: Source) -> Iterator[str]:
    """Yield the lines of an exported file, each a JSON object, without their ends.

    Prompts and hashes of keys are in them, and no plain key.
    """
    yield json.dumps(HEADER)
    for kind, record, _ in source.entries():
        yield json.dumps({"kind": kind, "record": record}, ensure_ascii=True)


class ImportSource:
    """The records of an exported file, whose lines are all checked before the first record is taken.

    A record that no backend can use is none of a faulty line: an export has it, since the source has it.
    """

    def __init__(self, open_lines: Callable[[], Iterable[str]]) -> None:
        """Take what opens the file's lines, from the first on, each time that it is called.

        Raises `WebCallError` that names the lines that cannot be used, by number and without quoting them.
        """
        self._open_lines = open_lines
        faults: list[str] = []
        count = 0
        for fault, _ in self._read():
            if fault:
                count += 1
                faults += [fault] if count <= TOLD else []
        if faults:
            more = f"; and {count - TOLD} more" if count > TOLD else ""
            raise WebCallError(f"nothing was imported: {'; '.join(faults)}{more}")

    def entries(self) -> Iterator[Entry]:
        """Yield every record."""
        for _, found in self._read():
            if found is not None:
                yield found

    def _read(self) -> Iterator[tuple[str, Entry | None]]:
        lines = iter(self._open_lines())
        if _parsed(next(lines, "")) != HEADER:
            yield "line 1: not the header of a file that `flask webcall records export` wrote", None
            return
        for number, line in enumerate(lines, start=2):
            if line.strip():
                yield _entry(number, _parsed(line))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(_: str) -> NoReturn:
    raise ValueError("no JSON")


def _entry(number: int, entry: Any) -> tuple[str, Entry | None]:
    if not isinstance(entry, dict) or entry.keys() != {"kind", "record"}:
        return f"line {number}: not an object of kind and record", None
    kind, record = entry["kind"], entry["record"]
    if kind not in ("key", "assistant") or not isinstance(record, dict):
        return f"line {number}: neither a key nor an assistant", None
    if kind == "key" and isinstance(record.get("api_key"), str):
        return f"line {number}: a key in plain, which no backend stores", None
    return "", Entry(kind, record)
