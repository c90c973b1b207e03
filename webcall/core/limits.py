"""Limits of what a caller may send. Pure."""

from __future__ import annotations

from typing import Any

from webcall.errors import InvalidMetadata
from webcall.json_writing import as_text

MAX_BYTES = 16 * 1024
MAX_DEPTH = 16
MAX_ID_CHARACTERS = 100
# LiveKit takes names of 256 bytes; a room's name is the id and nine more.
MAX_ID_BYTES = 240
_NESTING = (dict, list)


def assistant_id_fits(assistant_id: str) -> bool:
    """Return whether it is 1 to 100 characters and at most 240 bytes of UTF-8."""
    size = len(assistant_id.encode("utf-8", "surrogatepass"))
    return 1 <= len(assistant_id) <= MAX_ID_CHARACTERS and size <= MAX_ID_BYTES


def check_metadata(metadata: dict[str, Any]) -> None:
    """Raise `InvalidMetadata` unless it is within 16 KiB of compact UTF-8 JSON and 16 levels deep."""
    if _deeper_than(metadata, MAX_DEPTH):
        raise InvalidMetadata(f"Nested more than {MAX_DEPTH} levels deep, the object itself included.")
    try:
        size = len(as_text(metadata).encode())
    except UnicodeEncodeError:
        raise InvalidMetadata("Holds a lone surrogate, which is no Unicode text.") from None
    if size > MAX_BYTES:
        raise InvalidMetadata(f"{size} bytes as compact JSON; at most {MAX_BYTES} are taken.")


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, _NESTING):
        return False
    if levels == 0:
        return True
    # `any` of a generator would take longer than all else that is looked at here.
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, _NESTING) and _deeper_than(item, levels - 1):
            return True
    return False
