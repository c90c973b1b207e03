"""What the caller's metadata says of a person, in words that can be spoken. Pure.

Metadata may hold anything: what a page sends of the person, or what a company's server knows and the
person shall not read. So names and the city are told, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

VALUE_LENGTH = 60
PAIRS_TOLD = 5
PEOPLE = ("customer", "user", "caller", "person", "contact", "client", "guest")
_NAMES = (
    "name",
    "first_name",
    "firstname",
    "firstName",
    "full_name",
    "fullName",
    "display_name",
    "displayName",
)
_TOLD = frozenset((*_NAMES, "city"))
_DEPTH = 4


def name(metadata: Mapping[str, Any]) -> str:
    """Return the person's name from where pages usually put it, or an empty string."""
    for place in (*(metadata.get(person) for person in PEOPLE), metadata):
        if isinstance(place, Mapping):
            for key in _NAMES:
                if found := told(place.get(key)):
                    return found
    for person in PEOPLE:
        if found := told(metadata.get(f"{person}_name")) or told(metadata.get(person)):
            return found
    return ""


def city(metadata: Mapping[str, Any]) -> str:
    """Return the city that the person comes from, or an empty string."""
    places = (metadata, *(metadata.get(person) for person in PEOPLE))
    return next(
        (found for place in places if isinstance(place, Mapping) and (found := told(place.get("city")))), ""
    )


def pairs(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the pairs that may be told, as words: `("customer name", "Ada")`."""
    yield from _pairs(metadata, "", _DEPTH)


def _pairs(place: Mapping[str, Any], before: str, depth: int) -> Iterator[tuple[str, str]]:
    for key, value in place.items():
        words = _words(f"{before} {key}")
        if isinstance(value, Mapping):
            if depth > 1:
                yield from _pairs(value, words, depth - 1)
        elif key in _TOLD and (shown := told(value)):
            yield words, shown


def told(value: Any) -> str:
    """Return a value as a short text to say, or an empty string for what is better left unsaid."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        # A whole number of thousands of digits cannot even be made a text.
        return str(value) if abs(value) < 1e15 else ""
    if not isinstance(value, str):
        return ""
    # More than can be kept is not looked at: metadata may be large.
    text = " ".join(
        "".join(char if char.isprintable() else " " for char in value[: 4 * VALUE_LENGTH]).split()
    )
    return text if len(text) <= VALUE_LENGTH and any(char.isalnum() for char in text) else ""


def _words(key: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", " ", key)
    return " ".join(spaced.lower().split())[:VALUE_LENGTH]
