"""Rates such as `60/minute`: how they are written, in settings and in keys' records. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

OFF = "off"
EXAMPLES = "60/minute, 10/second, 5 per 10 minutes, or off for no limit"
# A window's count is one number; more than this is no limit that anybody feels.
MOST = 1_000_000
LONGEST_S = 31 * 86400

_UNITS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
# What the package `limits` reads as well, so that an existing deployment's records go on working.
_RATE = re.compile(
    r"(?P<count>[0-9]{1,9})\s*(?:/|per\b)\s*(?:(?P<many>[0-9]{1,9})\s*)?(?P<unit>second|minute|hour|day)s?",
    re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in `per_s` seconds."""

    count: int
    per_s: int

    def __str__(self) -> str:
        for unit, seconds in reversed(_UNITS_S.items()):
            if self.per_s % seconds == 0:
                many = self.per_s // seconds
                return f"{self.count}/{unit}" if many == 1 else f"{self.count} per {many} {unit}s"
        raise AssertionError


def parse_rate(text: str) -> Rate | None:
    """Return the rate that `text` means; None for `off`, which is no limit.

    Raises `ValueError` with what is wrong and right ones.
    """
    text = text.strip()
    if text.lower() == OFF:
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a rate such as {EXAMPLES}")
    rate = Rate(int(match["count"]), int(match["many"] or 1) * _UNITS_S[match["unit"].lower()])
    if not 1 <= rate.count <= MOST or not 1 <= rate.per_s <= LONGEST_S:
        raise ValueError(f"not from 1 to {MOST} in a second to 31 days: write a rate such as {EXAMPLES}")
    return rate
