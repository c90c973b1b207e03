"""Numbers as people say them, up to ninety-nine. Pure."""

from __future__ import annotations

# fmt: off
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}
# fmt: on
_VALUES = {word: value for value, word in enumerate(_SMALL)} | _TENS

# What the demo's ears can tell apart; typed numbers may be any.
SPOKEN = (*_SMALL[1:13], "twenty")


def with_digits(text: str) -> str:
    """Return a lower-case text with its number words as digits: `twenty one` becomes `21`."""
    found: list[str] = []
    tens_before = False
    for word in text.split():
        value = _VALUES.get(word)
        if value is None:
            found.append(word)
        elif tens_before and 1 <= value <= 9:
            found[-1] = str(int(found[-1]) + value)
        else:
            found.append(str(value))
        tens_before = word in _TENS
    return " ".join(found)
