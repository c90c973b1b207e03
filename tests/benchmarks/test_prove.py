"""`make prove`: the README shows its promises, and a table tells of one that is broken."""

from __future__ import annotations

import re
from datetime import date

from benchmarks.prove.promise import Tried
from benchmarks.prove.promises import PROMISES
from benchmarks.prove.table import BEGIN, README, make_table, shown, with_promises


def test_the_readme_has_the_programmes_promises() -> None:
    """The rows are what `make prove` tries, in its order, each kept, with the machine under them."""
    table = shown(README.read_text("utf-8"))
    rows = re.findall(r"^\| (?!Promise|-)(.+?) \| .+ \| (\w+): .+ \|$", table, re.MULTILINE)
    assert rows == [(promise.words, "kept") for promise in PROMISES]
    assert re.search(r"^Tried on \d{4}-\d\d-\d\d: \d+ cores, Python ", table, re.MULTILINE)


def test_a_broken_promise_is_told() -> None:
    """A promise that was not kept stands in the table as broken, with what came of it."""
    promise = PROMISES[0]
    table = make_table([(promise, Tried("twice", "1 of 2 lost", kept=False))], date(2026, 1, 1))
    assert f"| {promise.words} | twice | **broken**: 1 of 2 lost |" in table
    others = make_table([], date(2026, 1, 1), shown(README.read_text("utf-8")))
    assert others.count("| kept: ") == len(PROMISES)
    page = with_promises(README.read_text("utf-8"), table)
    assert page.count(BEGIN) == page.count("**broken**") == 1
