"""What other processes do to a database that a running service has open: the commands, above all."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from plugins.sql.assistants import SqlAssistants
from plugins.sql.connection import Connection
from plugins.sql.keys import SqlKeys
from webcall.errors import BackendError, Refused
from webcall.interfaces import Caller
from webcall.records import hash_api_key

OWNER = "ada@example.com"


def _add(url: str, api_key: str) -> None:
    keys = SqlKeys(Connection(url, timeout_s=10, pool_size=1))
    keys.add_key({"api_key_hash": hash_api_key(api_key), "user_email": OWNER})
    keys.close()


def _revoke(url: str, api_key: str) -> None:
    keys = SqlKeys(Connection(url, timeout_s=10, pool_size=1))
    assert keys.update_key(hash_api_key(api_key), {"is_active": False})
    keys.close()


def _elsewhere(do: object, *arguments: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=do, args=arguments)  # type: ignore[arg-type]
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_a_running_service_sees_what_commands_write(url: str) -> None:
    """With both sides open, keys that other processes add and revoke count at once, every time."""
    keys = SqlKeys(Connection(url, timeout_s=10, pool_size=2))
    assistants = SqlAssistants(Connection(url, timeout_s=10, pool_size=2))
    keys.prepare()
    assistants.prepare()
    try:
        for number in range(4):
            api_key = f"lvk_{number}"
            # As in a service's start: one side is open when the other one opens.
            assert keys.validate(api_key) is None
            assert assistants.get("nobody's", Caller(email=OWNER)) is None
            _elsewhere(_add, url, api_key)
            assert keys.validate(api_key) is not None
            _elsewhere(_revoke, url, api_key)
            with pytest.raises(Refused):
                keys.validate(api_key)
    finally:
        keys.close()
        assistants.close()


def test_a_file_that_nobody_may_read_is_told(tmp_path: Path) -> None:
    """A database that cannot be made is an outage that says why."""
    keys = SqlKeys(Connection(f"sqlite:///{tmp_path / 'absent' / 'kept.db'}", timeout_s=1, pool_size=1))
    with pytest.raises(
        BackendError, match="the SQLite file cannot be opened for writing: No such file or directory"
    ):
        keys.validate("lvk_any")
