"""The table of promises: how it is written, and where it stands in the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks.prove.promise import Promise, Tried
from benchmarks.prove.promises import PROMISES
from scripts.livekit_server import VERSION
from scripts.settings_table import with_table

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- promises: made by python -m benchmarks.prove --write -->", "<!-- /promises -->"


def make_table(found: Sequence[tuple[Promise, Tried]], on: date, earlier: str = "") -> str:
    """Return the table, a row for each promise, and the machine under it.

    A promise that was not tried now keeps the row that it has in `earlier`, a table made before.
    """
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in earlier.splitlines()}
    for promise, tried in found:
        kept = "kept" if tried.kept else "**broken**"
        rows[promise.words] = f"| {promise.words} | {tried.how} | {kept}: {tried.result} |"
    lines = ["| Promise | Tried | Result |", "|---|---|---|"]
    lines += [rows[promise.words] for promise in PROMISES if promise.words in rows]
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, livekit-server {VERSION}"
    return "\n".join([*lines, "", f"Tried on {on.isoformat()}: {machine}."])


def shown(page: str) -> str:
    """Return the table that stands in a page."""
    return page.partition(BEGIN)[2].partition(END)[0]


def with_promises(page: str, table: str) -> str:
    """Return a page's text with the table in its place."""
    return with_table(page, table, BEGIN, END)
