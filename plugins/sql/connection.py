"""The engine of this process, and the one place where the drivers' errors are translated."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as Session
from sqlalchemy import Engine, Table, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from plugins.sql.deadlines import Deadlines
from plugins.sql.settings import engine_url
from plugins.sql.tables import TooNew, make, pending, version_of
from webcall import BackendError

T = TypeVar("T")

# Making an index over a large table takes longer than any request may.
BUILD_TIMEOUT_S = 60.0
# Nothing longer is an id or an owner of a stored row.
LONGEST_VALUE = 1 << 20


class Connection:
    """One database. Opens nothing before it is first used, and never uses a connection across a fork."""

    def __init__(self, url: str, timeout_s: float, pool_size: int) -> None:
        self._url = engine_url(url)
        self.timeout_s = timeout_s
        self._pool_size = pool_size
        # An engine of another process stays here untouched: its sockets and locks belong to that one.
        self._engines: dict[int, Engine] = {}
        self._making = threading.Lock()
        self._deadlines = Deadlines()

    @property
    def sqlite(self) -> bool:
        """Whether it is a file."""
        return bool(self._url.get_backend_name() == "sqlite")

    def read(self, ask: Callable[[Session], T]) -> T:
        """Return what `ask` reads. Raises `BackendError` for an outage.

        Once more where a kept connection turns out broken at once, as after the server's restart: that
        costs a question nothing where all is well, as asking the server before each would.
        """
        begun = time.monotonic()
        with self.translated():
            try:
                return self._ask(ask)
            except DBAPIError as error:
                if not error.connection_invalidated or time.monotonic() - begun > self.timeout_s / 2:
                    raise
            return self._ask(ask)

    def _ask(self, ask: Callable[[Session], T]) -> T:
        with self._engine().connect() as session, self._deadlines.over(session, self.timeout_s):
            return ask(session)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give a transaction for changes; it is undone if the block raises. `BackendError` for an outage."""
        with (
            self.translated(),
            self._engine().begin() as session,
            self._deadlines.over(session, self.timeout_s),
        ):
            if self.sqlite:
                # Before it reads: two that read first and write then would fail each other.
                session.exec_driver_sql("BEGIN IMMEDIATE")
            yield session

    def ping(self, table: Table) -> None:
        """Raise `BackendError` if the table cannot be read."""
        self.read(lambda session: session.execute(table.select().limit(1)).first())

    def prepare(self, table: Table) -> list[str]:
        """Make the table, or bring it on, and return a line for what was done."""
        if self.sqlite:
            _private(Path(str(self._url.database)))
        with self.translated():
            engine = self._new(BUILD_TIMEOUT_S)
            try:
                return make(engine, table)
            finally:
                engine.dispose()

    def unprepared(self, table: Table) -> list[str]:
        """Return a line for what `prepare` would do."""
        if self.sqlite and not Path(str(self._url.database)).exists():
            return pending(None, table)
        return self.read(lambda session: pending(version_of(session, table), table))

    def close(self) -> None:
        """Close this process's connections."""
        self._deadlines.close()
        engine = self._engines.pop(os.getpid(), None)
        if engine is not None:
            engine.dispose()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn what SQLAlchemy and the drivers raise into `BackendError`, without a value or a password."""
        try:
            yield
        except TooNew as error:
            raise BackendError(f"sql: {error}") from None
        except SQLAlchemyError as error:
            raise BackendError(f"sql: {self._describe(error)}") from error

    def _engine(self) -> Engine:
        process = os.getpid()
        with self._making:
            if process not in self._engines:
                self._engines[process] = self._new(self.timeout_s)
            return self._engines[process]

    def _new(self, timeout_s: float) -> Engine:
        if self.sqlite:
            return _sqlite(self._url, timeout_s, self.timeout_s, self._pool_size)
        milliseconds = int(timeout_s * 1000)
        return create_engine(
            self._url,
            pool_size=self._pool_size,
            max_overflow=0,
            pool_timeout=self.timeout_s,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            connect_args={
                "connect_timeout": max(2, round(self.timeout_s)),
                "options": f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds}",
                "application_name": "webcall",
                # One statement a look-up: nothing to prepare, and poolers in front may not know it.
                "prepare_threshold": None,
            },
        )

    def _describe(self, error: SQLAlchemyError) -> str:
        name = type(error).__name__
        if not isinstance(error, DBAPIError):
            if name == "TimeoutError":
                return f"all {self._pool_size} connections were busy for {self.timeout_s:g} s"
            return name
        state = getattr(error.orig, "sqlstate", None)
        if self.sqlite:
            # SQLite's own text names tables and files, and no values.
            return f"{name}: {error.orig}"
        return f"{name}: SQLSTATE {state}" if state else f"{name}: the server does not answer"


def _sqlite(url: Any, timeout_s: float, pool_timeout_s: float, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_timeout_s,
        hide_parameters=True,
        # The transactions are begun by hand: see `writing`.
        isolation_level="AUTOCOMMIT",
        connect_args={"timeout": timeout_s, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _begin(connection: Any, _: Any) -> None:
        # Readers go on while one writes; what was committed survives the process's death.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def _private(path: Path) -> None:
    """Make the file, readable by its owner only, before SQLite makes it for everybody."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise BackendError(f"sql: the SQLite file cannot be made: {error.strerror}") from None


def askable(value: str) -> bool:
    """Return whether a text can stand in a column: one that cannot is in no row either."""
    try:
        return "\0" not in value and len(value.encode()) <= LONGEST_VALUE
    except UnicodeEncodeError:
        return False
