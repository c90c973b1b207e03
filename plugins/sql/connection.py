"""The engine of this process, and the one place where the drivers' errors are translated."""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as Session
from sqlalchemy import Dialect, Engine, Table, create_engine, event, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from plugins.sql.deadlines import Deadlines, connected
from plugins.sql.settings import engine_url
from plugins.sql.tables import (
    FIXES,
    NO_TABLES,
    UNDEFINED_TABLE,
    TooNew,
    make,
    pending,
    read_record,
    version_of,
)
from webcall import BackendError, RecordError

T = TypeVar("T")

# Whoever finds a file there waits for the one who makes it, and closes it, in this process.
_MAKING_FILES = threading.Lock()
# What SQLite's driver says of a text that somebody broke, and quotes it.
_NO_TEXT = "Could not decode to UTF-8"
_UNUSABLE = "sql: the SQLite file cannot be opened for writing: {}"

# Making an index over a large table takes longer than any request may.
BUILD_TIMEOUT_S = 60.0


class Connection:
    """One database. Opens nothing before it is first used, and never uses a connection across a fork."""

    def __init__(self, url: str, timeout_s: float, pool_size: int) -> None:
        self._given = url
        self._url = engine_url(url)
        self.timeout_s = timeout_s
        self._pool_size = pool_size
        # A pool of another process stays here untouched: its sockets and locks belong to that one.
        self._pools: dict[int, _Pool] = {}
        self._making = threading.Lock()
        self._deadlines = Deadlines()

    @property
    def sqlite(self) -> bool:
        """Whether it is a file."""
        return bool(self._url.get_backend_name() == "sqlite")

    def read(self, ask: Callable[[Session], T]) -> T:
        """Return what `ask` reads, in one statement or more. Raises `BackendError` for an outage.

        Once more where a kept connection turns out broken, as after the server's restart: that costs a
        question nothing where all is well, as asking the server before each would.
        """
        until = time.monotonic() + self.timeout_s
        with self.translated():
            try:
                with self._session(until) as session:
                    return ask(session)
            except DBAPIError as error:
                if not error.connection_invalidated or time.monotonic() > until:
                    raise
            with self._session(until) as session:
                return ask(session)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a transaction for changes; it is undone if the block raises. `BackendError` for an outage."""
        until = time.monotonic() + self.timeout_s
        with self.translated(), self._session(until) as session, session.begin():
            if self.sqlite:
                left_ms = max(0, int((until - time.monotonic()) * 1000))
                session.exec_driver_sql(f"PRAGMA busy_timeout={left_ms}")
            # IMMEDIATE, before it reads: two that read first and write then would fail each other.
            session.exec_driver_sql("BEGIN IMMEDIATE" if self.sqlite else "BEGIN")
            yield session

    def ping(self, table: Table) -> None:
        """Raise `BackendError` if the table cannot be read."""
        # Without a record: one that somebody broke is no outage.
        self.read(lambda session: session.execute(select(*table.primary_key.columns).limit(1)).first())

    def prepare(self, table: Table) -> list[str]:
        """Make the table, or bring it on, and return a line for what was done."""
        if not self.unprepared(table):
            return []
        builder = Connection(self._given, BUILD_TIMEOUT_S, 1)
        try:
            with builder.writing() as session:
                return make(session, table)
        finally:
            builder.close()

    def unprepared(self, table: Table) -> list[str]:
        """Return a line for what `prepare` would do."""
        if self.sqlite and not Path(str(self._url.database)).exists():
            return pending(None, table)
        return self.read(lambda session: pending(version_of(session, table), table))

    def close(self) -> None:
        """Close this process's connections."""
        self._deadlines.close()
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.engine.dispose()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what SQLAlchemy and the drivers raise into `BackendError`, without a value or a password.

        The cause is left out: PostgreSQL's own text may quote what was asked for.
        """
        try:
            yield
        except TooNew as error:
            raise BackendError(f"sql: {error}") from None
        except SQLAlchemyError as error:
            if self.sqlite and str(getattr(error, "orig", "")).startswith(_NO_TEXT):
                raise RecordError("sql: a stored record is not UTF-8 any more") from None
            told = self._describe(error)
            raise BackendError(f"sql: {told}", fix=FIXES.get(told, "")) from None

    @contextmanager
    def _session(self, until: float) -> Iterator[Session]:
        """Give a connection for this block, which ends, waiting and connecting included, by `until`."""
        pool = self._pool()
        if not pool.free.acquire(timeout=max(0.0, until - time.monotonic())):
            raise BackendError(f"sql: all {self._pool_size} connections were busy for {self.timeout_s:g} s")
        try:
            pool.asking.until = until
            with pool.engine.connect() as session, self._deadlines.over(session, until):
                yield session
        finally:
            pool.free.release()

    def _pool(self) -> _Pool:
        process = os.getpid()
        if process not in self._pools:
            with self._making:
                if process not in self._pools:
                    self._pools[process] = self._new()
        return self._pools[process]

    def _new(self) -> _Pool:
        asking = threading.local()
        engine = create_engine(
            self._url,
            pool_size=self._pool_size,
            max_overflow=0,
            hide_parameters=True,
            json_deserializer=read_record,
            # A look-up is its statement alone, one round trip; `writing` begins transactions by hand.
            isolation_level="AUTOCOMMIT",
            connect_args=self._sqlite_arguments() if self.sqlite else self._postgresql_arguments(),
        )
        if self.sqlite:
            _private(Path(str(self._url.database)))
            event.listen(engine, "connect", _write_ahead)
        else:

            def connect(dialect: Dialect, record: Any, arguments: Any, options: Any) -> Any:
                made = connected(
                    lambda: dialect.connect(*arguments, **options), asking.until - time.monotonic()
                )
                # For what SQLAlchemy asks a server first, before the connection is given out.
                self._deadlines.watch(made, asking.until)
                return made

            event.listen(engine, "do_connect", connect)
        return _Pool(engine, threading.Semaphore(self._pool_size), asking)

    def _sqlite_arguments(self) -> dict[str, Any]:
        return {"timeout": self.timeout_s, "check_same_thread": False}

    def _postgresql_arguments(self) -> dict[str, Any]:
        milliseconds = int(self.timeout_s * 1000)
        own = self._url.query.get("options", "")
        return {
            # Whole seconds, and two at least (libpq); an earlier end is `connected`'s.
            "connect_timeout": max(2, math.ceil(self.timeout_s)),
            "options": f"{own} -c statement_timeout={milliseconds} -c lock_timeout={milliseconds}".strip(),
            "application_name": self._url.query.get("application_name", "webcall"),
            # A firewall that forgets a quiet connection is noticed before the next question.
            "keepalives_idle": 30,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # One statement a look-up: nothing to prepare, and poolers in front may not know it.
            "prepare_threshold": None,
        }

    def _describe(self, error: SQLAlchemyError) -> str:
        name = type(error).__name__
        if not isinstance(error, DBAPIError):
            return name
        state = getattr(error.orig, "sqlstate", None)
        if state == UNDEFINED_TABLE or str(error.orig).startswith("no such table"):
            return NO_TABLES
        if self.sqlite:
            # SQLite's own text names tables and files, and no values.
            return f"{name}: {error.orig}"
        if state:
            return f"{name}: SQLSTATE {state}"
        if error.statement is None:
            # Nothing was asked yet: the text has address, user and cause.
            return f"{name}: {' '.join(str(error.orig).split())[:300]}"
        return f"{name}: the connection broke, or the server was silent for {self.timeout_s:g} s"


@dataclass(frozen=True, slots=True)
class _Pool:
    """The connections of one process; `free` counts them, `asking.until` is the asking thread's end."""

    engine: Engine
    free: threading.Semaphore
    asking: threading.local


def _write_ahead(connection: Any, _: Any) -> None:
    """Let readers go on while one writes."""
    # Locked, where another process turns the file over at this moment: it stays so for all.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


def _private(path: Path) -> None:
    """Make the file, readable by its owner only, before SQLite makes it for everybody.

    One that is there is not opened: closing it would drop the locks of every connection that this process
    has to it (POSIX, close(2) and fcntl; https://www.sqlite.org/howtocorrupt.html, 2.2). The next command
    would then take itself for the last user and remove the write-ahead log, and this process would go on
    reading a file that is gone: a revoked key would be good for ever.
    """
    with _MAKING_FILES:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            if not os.access(path, os.R_OK | os.W_OK):
                raise BackendError(_UNUSABLE.format("Permission denied")) from None
        except OSError as error:
            raise BackendError(_UNUSABLE.format(error.strerror)) from None
