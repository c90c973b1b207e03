"""The page about keys: its commands run, its messages and its table are the service's."""

from __future__ import annotations

import re
import shlex

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.support.deployment import ROOT
from webcall.core.keys import list_keys
from webcall.core.permissions import check_origin
from webcall.errors import OriginForbidden
from webcall.interfaces import Caller

PAGE = (ROOT / "docs" / "keys.md").read_text("utf-8")
SAMPLE_ID = "lvk_AbCdEf12"
ORIGINS = ("https://shop.example.com",)
KINDS = (
    Caller("ada@example.com", allowed_origins=ORIGINS),
    Caller("ada@example.com", allowed_origins=ORIGINS, publishable=True),
    Caller("ada@example.com", allowed_origins=ORIGINS, publishable=True, native=True),
)


def test_its_commands_run(runner: FlaskCliRunner, app: Flask) -> None:
    """Every command of the page does what it is there for, with the id of a key that was made by it."""
    commands = re.findall(r"^flask (webcall .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 8
    made = ""
    for command in commands:
        words = shlex.split(command.replace(SAMPLE_ID, made[:12]))
        result = runner.invoke(args=words, input="y\n")
        assert result.exit_code == 0, (command, result.output)
        if "create" in words or "rotate" in words:
            made = result.stdout.strip()
            assert made.startswith("lvp_" if "--publishable" in words else "lvk_")
    entries = list(list_keys(app.extensions["webcall"].validators()))
    assert len([entry for entry in entries if entry.record.get("created_at")]) == 5


def test_its_table_of_origins_is_the_services() -> None:
    """What the page says of a kind of key, with and without an `Origin`, is what is decided."""
    table = PAGE.partition("| The request has |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    sent = (None, "https://shop.example.com", "https://elsewhere.example")
    for (told, *cells), origin in zip(rows[:3], sent, strict=True):
        for caller, cell in zip(KINDS, cells, strict=True):
            if cell.startswith("taken"):
                check_origin(caller, origin, same_origin=False)
            else:
                assert cell.startswith("403"), told
                with pytest.raises(OriginForbidden):
                    check_origin(caller, origin, same_origin=False)
    last = rows[3]
    assert [cell[:5] for cell in last[1:]] == ["taken", "the k", "403"]
    check_origin(Caller("ada@example.com"), sent[1], same_origin=False)
    with pytest.raises(OriginForbidden):
        check_origin(Caller("ada@example.com", publishable=True, native=True), sent[1], same_origin=False)
