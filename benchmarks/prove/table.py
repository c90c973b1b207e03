"""The table of promises: how it is written, and where it stands in the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from benchmarks.prove.promise import Promise, Tried
from scripts.livekit_server import VERSION
from scripts.settings_table import with_table

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- promises: made by python -m benchmarks.prove --write -->", "<!-- /promises -->"


def make_table(found: Sequence[tuple[Promise, Tried]], on: date) -> str:
    """Return the table, a row for each promise, and the machine under it."""
    lines = ["| Promise | Tried | Result |", "|---|---|---|"]
    for promise, tried in found:
        kept = "kept" if tried.kept else "**broken**"
        lines.append(f"| {promise.words} | {tried.how} | {kept}: {tried.result} |")
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, livekit-server {VERSION}"
    return "\n".join([*lines, "", f"Tried on {on.isoformat()}: {machine}."])


def with_promises(page: str, table: str) -> str:
    """Return a page's text with the table in its place."""
    return with_table(page, table, BEGIN, END)
