"""Stored text to checked records: YAML or JSON by the file's ending, and nothing half right.

Faults are `webcall.RecordError`; they name the file, the record's position and the field, and
never a value, since they go into logs.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from plugins.file.survey import Signature, signature
from webcall import RecordError
from webcall.interfaces import Record
from webcall.records import as_json_value, check_assistant_record, check_key_record, key_hash_of
from webcall.strict import DistinctMappings, Repeated, distinct, more_values_than, yaml_problem

READ_ATTEMPTS = 5
SETTLING_S = 0.02


# libyaml's loader where the wheel has it: ten times as fast, and it accepts the same documents.
class _Loader(DistinctMappings, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # either
    pass


YAML_LOADER: type[Any] = _Loader


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file holds: how a record is checked, and the name and value it is looked up by."""

    name: str
    id_field: str
    check: Callable[[Any], None]
    identify: Callable[[Record], str | None]


def _assistant_id(record: Record) -> str | None:
    value = record.get("assistant_id")
    return value if isinstance(value, str) else None


KEYS = Kind("keys", "api_key_hash", check_key_record, key_hash_of)
ASSISTANTS = Kind("assistants", "assistant_id", check_assistant_record, _assistant_id)
KINDS = {kind.name: kind for kind in (KEYS, ASSISTANTS)}


def read_text(path: Path) -> str:
    """Return the file's text, read while nobody wrote to it.

    Raises `OSError` if it cannot be read or does not come to rest, `RecordError` if it is not UTF-8.
    """
    for _ in range(READ_ATTEMPTS):
        # Without O_NONBLOCK, a FIFO put in the file's place would hang the reader for good.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            before = _regular(file.fileno())
            content = file.read()
            if _regular(file.fileno()) == before and len(content) == before[2]:
                break
        time.sleep(SETTLING_S)
    else:
        raise OSError(None, "it goes on changing while it is read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: byte {error.start}: not UTF-8; save the file as UTF-8") from None


def _regular(descriptor: int) -> Signature:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(None, "it is not a regular file")
    return signature(found)


def parse(text: str, path: Path) -> Any:
    """Return what a text holds in the forms that JSON has, times as RFC 3339; None if it holds nothing.

    `path` tells the format (`.json` is JSON, all else YAML). Raises `RecordError`.
    """
    if not text.strip():
        return None
    try:
        if path.suffix.lower() == ".json":
            return as_json_value(json.loads(text, parse_constant=_no_constant, object_pairs_hook=distinct))
        tree = yaml.load(text, YAML_LOADER)  # noqa: S506  # nosec B506  # both loaders are safe ones
        # Each value takes a character at least, unless it is an alias: those can make terabytes of a line.
        if more_values_than(len(text), tree):
            raise RecordError(f"{path}: its YAML aliases hold more than the file itself: write it out")
        return as_json_value(tree)
    except Repeated as error:
        where = f"line {error.mark.line + 1}: " if error.mark else ""
        raise RecordError(f"{path}: {where}a field stands twice in one record: remove one of them") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise RecordError(f"{path}: {where}: not JSON: {error.msg}") from None
    except yaml.YAMLError as error:
        raise RecordError(f"{path}: {_yaml_fault(error)}") from None
    except RecursionError:
        raise RecordError(f"{path}: nested too deeply, or a YAML alias within itself") from None
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError):
        # The last two are PyYAML's own, for `!!bool perhaps` and `!!timestamp perhaps`.
        raise RecordError(
            f"{path}: holds a number, a time or a name of a field that cannot be read"
        ) from None


def _no_constant(_: str) -> NoReturn:
    raise ValueError("not JSON")


def _yaml_fault(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = yaml_problem(error)
    return f"{where}not YAML{': ' if problem else ''}{problem}"


def records_of(value: Any, path: Path) -> list[Any]:
    """Return the list of records that a parsed file is; nothing at all is an empty list."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise RecordError(
            f"{path}: not a list of records; begin each record with a dash, or write [] for none"
        )
    return value


def checked(records: Iterable[tuple[str, Any]], kind: Kind) -> Iterable[tuple[str, Any]]:
    """Yield look-up key and record for pairs of a place (for messages) and a record.

    Raises `RecordError` at the first record that is unusable or that repeats an earlier one's key.
    """
    seen: dict[str, str] = {}
    for place, record in records:
        try:
            kind.check(record)
        except RecordError as error:
            raise RecordError(f"{place}: {str(error).partition(': ')[2] or error}") from None
        key = kind.identify(record)
        if key is None:
            raise RecordError(f"{place}: {kind.id_field}: missing")
        if key in seen:
            raise RecordError(f"{place}: {kind.id_field}: the same as in {seen[key]}")
        seen[key] = place
        yield key, record


def placed(records: list[Any], path: Path) -> Iterable[tuple[str, Any]]:
    """Yield every record of one file with its place in it, counted from 1."""
    return ((f"{path}: record {position}", record) for position, record in enumerate(records, 1))
