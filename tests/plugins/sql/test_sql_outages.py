"""What happens while the database cannot be asked, on real servers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from plugins.sql.connection import Connection
from plugins.sql.keys import SqlKeys
from tests.support.postgres import PostgresServer
from webcall.errors import BackendError
from webcall.records import hash_api_key

KEY = "lvk_known"
RECORD = {"api_key_hash": hash_api_key(KEY), "user_email": "ada@example.com"}


@pytest.fixture
def keys(postgres_outage: PostgresServer) -> Iterator[SqlKeys]:
    """The keys of a server of the test's own, with eight connections and a second for each statement."""
    made = SqlKeys(Connection(postgres_outage.url(), timeout_s=1, pool_size=8))
    made.add_key(RECORD)
    yield made
    made.close()


def said(keys: SqlKeys, api_key: str = KEY) -> str:
    try:
        return "known" if keys.validate(api_key) else "unknown"
    except BackendError:
        return "outage"


def test_a_restart_under_load_gives_no_wrong_answer(keys: SqlKeys, postgres_outage: PostgresServer) -> None:
    """Through a restart every answer is right or an outage, connections stay few, and it mends itself."""
    answers: Counter[tuple[str, str]] = Counter()
    over, counting = threading.Event(), threading.Lock()

    def ask(number: int) -> None:
        api_key = KEY if number % 2 else "lvk_unknown"
        while not over.is_set():
            answer = said(keys, api_key)
            with counting:
                answers[api_key, answer] += 1

    with ThreadPoolExecutor(32) as pool:
        asking = [pool.submit(ask, number) for number in range(32)]
        try:
            wait_for(lambda: answers[KEY, "known"] > 50)
            open_ones = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'webcall'"
            assert postgres_outage.ask(open_ones)[0][0] <= 8
            postgres_outage.stop()
            wait_for(lambda: answers[KEY, "outage"] > 50)
            postgres_outage.start()
            before = answers[KEY, "known"]
            wait_for(lambda: answers[KEY, "known"] > before + 50)
            assert postgres_outage.ask(open_ones)[0][0] <= 8
        finally:
            over.set()
    for each in asking:
        each.result()
    assert set(answers) == {
        (KEY, "known"),
        (KEY, "outage"),
        ("lvk_unknown", "unknown"),
        ("lvk_unknown", "outage"),
    }


def test_a_kept_connection_that_broke_costs_no_answer(keys: SqlKeys, postgres_outage: PostgresServer) -> None:
    """After a restart in a quiet hour the first question is answered."""
    assert said(keys) == "known"
    postgres_outage.stop()
    postgres_outage.start()
    assert said(keys) == "known"


def test_a_hung_server_is_an_outage_in_time(keys: SqlKeys, postgres_outage: PostgresServer) -> None:
    """Nobody waits much longer than the timeout for a server that is silent, nor for a busy connection."""
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(lambda _: said(keys), range(16))) == {"known"}
        with postgres_outage.frozen():
            began = time.monotonic()
            assert set(pool.map(lambda _: said(keys), range(16))) == {"outage"}
            # Half of them wait for a connection first.
            assert time.monotonic() - began < 1 + 1 + 1.5
        wait_for(lambda: said(keys) == "known")


def test_a_locked_file_is_an_outage_for_writers_alone(tmp_path: Path) -> None:
    """While another process writes to an SQLite file, readers are answered, and writers end in time."""
    settings: dict[str, Any] = {"url": f"sqlite:///{tmp_path / 'kept.db'}", "pool_size": 4}
    keys, other = (SqlKeys(Connection(**settings, timeout_s=0.3)) for _ in range(2))
    keys.add_key(RECORD)
    with other._connection.writing():
        assert said(keys) == "known"
        with pytest.raises(BackendError, match="locked"):
            keys.update_key(RECORD["api_key_hash"], {"is_active": False})
    assert said(keys) == "known"
    assert keys.update_key(RECORD["api_key_hash"], {"note": "stored"})
    keys.close()
    other.close()


def test_no_error_holds_the_password(tmp_path: Path) -> None:
    """An outage's message and its causes quote neither password nor key."""
    keys = SqlKeys(Connection("postgresql://ada:canary@127.0.0.1:1/none", timeout_s=0.5, pool_size=1))
    with pytest.raises(BackendError) as caught:
        keys.validate("lvk_canary")
    assert "canary" not in str(caught.value)
    keys.close()


def wait_for(holds: Any, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
