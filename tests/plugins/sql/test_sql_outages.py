"""What happens while the database cannot be asked, on real servers."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from plugins.sql.connection import Connection
from plugins.sql.keys import SqlKeys
from tests.support.http import at_once
from tests.support.names import Names
from tests.support.postgres import PostgresServer
from tests.support.programs import free_port
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


def test_a_look_up_in_dns_that_hangs(keys: SqlKeys, postgres_outage: PostgresServer, names: Names) -> None:
    """Where no name server answers each question is an outage in time; kept connections need no name."""
    url = postgres_outage.url().replace("127.0.0.1", names.name)
    by_name = SqlKeys(Connection(url, timeout_s=1, pool_size=4))
    assert said(by_name) == "known"
    names.hangs = True
    assert said(by_name) == "known"
    others = SqlKeys(Connection(url, timeout_s=1, pool_size=4))
    began = time.monotonic()
    assert at_once(4, lambda _: said(others)) == ["outage"] * 4
    assert time.monotonic() - began < 1 + 4
    names.hangs = False
    assert said(others) == "known", "those that hang go on hanging, and hold nobody"
    by_name.close()
    others.close()


def test_a_restart_under_load_gives_no_wrong_answer(keys: SqlKeys, postgres_outage: PostgresServer) -> None:
    """Through a restart 64 threads get right answers or outages, by few connections, and it recovers."""
    answers: Counter[tuple[str, str]] = Counter()
    over, counting = threading.Event(), threading.Lock()

    def ask(number: int) -> None:
        api_key = KEY if number % 2 else "lvk_unknown"
        while not over.is_set():
            answer = said(keys, api_key)
            with counting:
                answers[api_key, answer] += 1

    with ThreadPoolExecutor(64) as pool:
        asking = [pool.submit(ask, number) for number in range(64)]
        try:
            wait_for(lambda: answers[KEY, "known"] > 50)
            open_ones = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'webcall'"
            assert postgres_outage.ask(open_ones)[0][0] <= 8
            postgres_outage.stop()
            wait_for(lambda: answers[KEY, "outage"] > 50)
            postgres_outage.start()
            before = answers[KEY, "known"]
            # Two cores that are shared may be slow: about a second for those who wait, by themselves.
            wait_for(lambda: answers[KEY, "known"] > before + 50, timeout_s=5)
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
    """Nobody waits much longer than the timeout: for a silent server, a connection, or a busy one."""
    fresh = SqlKeys(Connection(postgres_outage.url(), timeout_s=0.5, pool_size=2))
    with ThreadPoolExecutor(64) as pool:
        assert set(pool.map(lambda _: said(keys), range(64))) == {"known"}
        with postgres_outage.frozen():
            # Of the 64 eight ask, the others wait for them; then one has to connect first.
            for asked, most_s in ((keys, 1 + 1), (fresh, 0.5 + 1)):
                began = time.monotonic()
                assert set(pool.map(said, [asked] * 64)) == {"outage"}
                assert time.monotonic() - began < most_s
        wait_for(lambda: said(keys) == said(fresh) == "known")
    fresh.close()


def test_busy_connections_are_an_outage_in_time(keys: SqlKeys) -> None:
    """Where every connection is taken for longer than the timeout, the next one to ask is told so."""
    with ExitStack() as taken:
        for _ in range(8):
            taken.enter_context(keys._connection._session(time.monotonic() + 60))
        began = time.monotonic()
        with pytest.raises(BackendError, match="all 8 connections were busy for 1 s"):
            keys.validate(KEY)
        assert time.monotonic() - began < 1 + 2
    assert said(keys) == "known"


def test_a_process_has_connections_of_its_own(keys: SqlKeys, postgres_outage: PostgresServer) -> None:
    """A forked worker asks by connections that it opens itself, and its parent's go on."""
    assert said(keys) == "known"
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def work() -> None:
        told.put((said(keys), said(keys, "lvk_unknown")))
        os._exit(0)

    with warnings.catch_warnings():
        # That a process with threads forks is what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        worker = context.Process(target=work)
        worker.start()
    assert told.get() == ("known", "unknown")
    worker.join(timeout=30)
    assert said(keys) == "known"


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


def test_an_outage_says_why_and_no_secret(postgres_outage: PostgresServer) -> None:
    """A server that refuses is named with its reason; neither the password nor a key is in any line."""
    given = [
        (f"postgresql://ada:canary@127.0.0.1:{free_port()}/none", "refused"),
        (f"postgresql://ada:canary@127.0.0.1:{postgres_outage.port}/postgres", 'role "ada" does not exist'),
        (postgres_outage.url("missing"), 'database "missing" does not exist'),
        (postgres_outage.url(), "make them with `flask webcall sql init`"),
    ]
    for url, why in given:
        keys = SqlKeys(Connection(url, timeout_s=2, pool_size=1))
        with pytest.raises(BackendError, match=why) as caught:
            keys.validate("lvk_canary")
        told = "".join(traceback.format_exception(caught.value))
        # The line of this file that is shown in a traceback holds it, too.
        assert "canary" not in told.replace('keys.validate("lvk_canary")', "")
        keys.close()


def wait_for(holds: Any, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
