"""The text of a file after a change: JSON stays JSON, and in YAML a person's comments stay."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugins.file.parsing import parse
from plugins.file.state import SMALL_BYTES
from plugins.file.yaml_text import dump, edit_entries
from webcall import RecordError


def rendered_list(path: Path, text: str, before: list[Any], after: list[Any], position: int | None) -> str:
    """Return the text of a list whose record at `position` changed or went, or with one more (None)."""
    if _is_json(path):
        return _json_text(path, after)
    if position is None:
        changed, added = {}, dump(after[-1:])
    else:
        gone = len(after) < len(before)
        changed, added = {position: None if gone else dump([after[position]])}, ""
    if not before and not text.strip().startswith("["):
        edited: str | None = text + ("\n" if text and not text.endswith("\n") else "") + added
    else:
        edited = edit_entries(text, changed, added) if after else None
    return _checked_yaml(path, edited, after)


def rendered_record(path: Path, text: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the text of a file that holds one record."""
    if _is_json(path):
        return _json_text(path, after)
    changed = {
        index: dump({name: after[name]}) if name in after else None
        for index, name in enumerate(before)
        if name not in after or after[name] != before[name]
    }
    new = {name: value for name, value in after.items() if name not in before}
    return _checked_yaml(path, edit_entries(text, changed, dump(new) if new else ""), after)


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _json_text(path: Path, value: Any) -> str:
    if isinstance(value, list) and path.exists() and path.stat().st_size > SMALL_BYTES:
        # A line each: indenting takes Python's own encoder, ten times as slow as the C one.
        return "[\n" + ",\n".join(json.dumps(each, ensure_ascii=False) for each in value) + "\n]\n"
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _checked_yaml(path: Path, edited: str | None, meant: Any) -> str:
    for text in (edited, dump(meant)):
        if text is not None:
            with contextlib.suppress(RecordError):
                if parse(text, path) == meant:
                    return text
    raise RecordError(f"{path}: the record holds text that YAML cannot; store it in a .json file")
