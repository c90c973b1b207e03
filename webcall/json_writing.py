"""JSON that is written on the way of a request: compact, by orjson, in a tenth of the time that `json` takes.

For what JSON has: null, booleans, finite numbers, text, lists, and objects by text. A number that is not
finite orjson would write as null, so none may get here: bodies are read without, and records of backends go
through `webcall.records.as_json_value`. What is read stays with `json`, which can be told to be strict.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

# What `json` refuses stays refused: it would show a defect.
_STRICTLY = (
    orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
)
# For what orjson refuses: whole numbers beyond 64 bits, halves of surrogate pairs, more than 254 levels.
_encode_ascii = json.JSONEncoder(separators=(",", ":")).encode
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def as_bytes(value: Any) -> bytes:
    """Return `value` as JSON in UTF-8. Half of a surrogate pair is escaped."""
    try:
        return orjson.dumps(value, option=_STRICTLY)
    except TypeError:
        return _encode_ascii(value).encode("ascii")


def as_text(value: Any) -> str:
    """Return `value` as JSON. Half of a surrogate pair stays what it is: such a text has no UTF-8."""
    try:
        return orjson.dumps(value, option=_STRICTLY).decode()
    except TypeError:
        return _encode(value)
