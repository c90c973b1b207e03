"""What an operator writes, and the file that comes of it."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from marshmallow import ValidationError

from plugins.sql.connection import Connection
from plugins.sql.keys import SqlKeys
from plugins.sql.settings import SqlSettings

ADA = "ada@example.com"


def test_a_file_is_its_owners(tmp_path: Path) -> None:
    """An SQLite file is readable by its owner only, its write-ahead log included."""
    before = os.umask(0)
    try:
        keys = SqlKeys(Connection(f"sqlite:///{tmp_path / 'kept.db'}", timeout_s=1, pool_size=1))
        keys.add_key({"api_key_hash": "a" * 64, "user_email": ADA})
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert "kept.db-wal" in modes
    with sqlite3.connect(tmp_path / "kept.db") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    keys.close()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://ada:canary@host/db", "neither SQLite nor PostgreSQL"),
        ("postgresql://ada:canary@host", "names no database"),
        ("sqlite:///:memory:", "a file of its own"),
        ("sqlite://", "names no database"),
        ("sqlite:///kept.db?mode=canary", "takes no options"),
        ("postgresql://ada:1@canary@host/db", "written %40"),
        ("postgresql://ada:1@host:canary/db", "not a database URL"),
        ("sqlite:////nowhere/at/all/kept.db", "the folder of the SQLite file is not there"),
    ],
)
def test_an_unusable_url_is_told_without_quoting_it(written: str, told: str) -> None:
    """What is wrong with a URL is told with a fix, and nothing of it is quoted."""
    with pytest.raises(ValidationError) as caught:
        SqlSettings().load({"url": written})
    [line] = caught.value.messages_dict["url"]
    assert told in line
    assert "canary" not in line
