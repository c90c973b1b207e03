"""The threat model: each threat has a test that holds what stands against it."""

from __future__ import annotations

import re

from tests.support.deployment import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")


def rows() -> list[list[str]]:
    """Return the cells of the threat model's rows."""
    table = PAGE.partition("| Threat |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


def test_each_threat_has_a_test_that_exists() -> None:
    """Every row names a test at the least, and every test that the page names is there."""
    threats = rows()
    assert len(threats) >= 25
    for threat, stands, held_by in threats:
        assert len(stands) > 20, threat
        assert re.search(r"`tests/[\w/]+\.py::test_\w+`", held_by), threat
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    for path, name in named:
        source = (ROOT / path).read_text("utf-8")
        assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{path}::{name}"
