"""What is told about faults: the setting's path and the fix, and never its value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from marshmallow import Schema, fields

from webcall.config.fields import NOT_A_SECTION

UNKNOWN = "Unknown field."

# marshmallow's own words, which plugins' schemas have too, for somebody who writes YAML.
_PLAIN = {
    "Missing data for required field.": "missing",
    "Field may not be null.": "no value: give one, or remove the line",
    "Not a valid string.": "not text: put it in quotes",
    "Not a valid integer.": "not a whole number",
    "Not a valid number.": "not a number",
    "Special numeric values (nan or infinity) are not permitted.": "not a number",
    "Number too large.": "too large a number",
    "Not a valid boolean.": "neither true nor false",
    "Not a valid list.": "not a list of names: write [a, b] or a,b",
    "Not a valid mapping type.": NOT_A_SECTION,
    "Invalid input type.": NOT_A_SECTION,
    "Invalid type.": NOT_A_SECTION,
}
_SHOWN_CHARACTERS = 80


class Fault(NamedTuple):
    """One fault: the setting's path (`livekit.api_key`), what is wrong, and whether the setting exists."""

    path: str
    told: str
    known: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.told}" if self.path else self.told


def shown(name: object) -> str:
    """Return a name for a fault's line: printable, and not endless."""
    text = "null" if name is None else str(name)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def setting_names(schema: Schema) -> dict[str, fields.Field[Any]]:
    """Return a schema's fields by the names that are written in the file."""
    return {field.data_key or name: field for name, field in schema.load_fields.items()}


def flatten(messages: Any, schema: Schema | None, path: str = "") -> Iterator[Fault]:
    """Yield the faults in marshmallow's nested messages; unknown names get their nearest neighbour."""
    if not isinstance(messages, Mapping):
        told = messages if isinstance(messages, list | tuple) else [messages]
        yield Fault(path, "; ".join(_PLAIN.get(str(text), _one_line(text)) for text in told))
        return
    known = setting_names(schema) if schema is not None else {}
    for name, told in messages.items():
        where = path if name == "_schema" else f"{path}.{shown(name)}" if path else shown(name)
        if told == [UNKNOWN]:
            yield unknown(where, name, known)
        else:
            inner = known.get(name)
            yield from flatten(told, inner.schema if isinstance(inner, fields.Nested) else None, where)


def unknown(path: str, name: object, known: Iterable[str]) -> Fault:
    """Return the fault of a setting that does not exist."""
    return Fault(path, "unknown setting" + nearest(name, known), known=False)


def nearest(name: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'? (there are: …)` for an error about a name that does not exist."""
    there = sorted(known)
    if not there:
        return " (there are none)"
    [best] = difflib.get_close_matches(shown(name), there, n=1, cutoff=0.0)
    return f"; did you mean '{best}'? (there are: {', '.join(there)})"


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
