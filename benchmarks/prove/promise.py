"""A promise, and how it was tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tried:
    """How a promise was tried, in words with numbers; what came of it; and whether it was kept."""

    how: str
    result: str
    kept: bool


@dataclass(frozen=True)
class Promise:
    """What is promised, in words for the README, and what tries it in a folder of its own."""

    words: str
    tries: Callable[[Path], Tried]
