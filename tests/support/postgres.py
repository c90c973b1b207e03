"""A real PostgreSQL on a free loopback port, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scripts.programs import find_postgres
from tests.support.programs import free_port, stop, wait_until, without

# It refuses to run as root: then as the user of Debian's package, or as nobody.
_USERS = ("postgres", "nobody")


class PostgresServer:
    """A server that tests may freeze, stop and start again, at the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database as an operator writes it."""
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, with the data that it had, and return when it answers."""
        programs = find_postgres()
        if programs is None:
            without("postgres", "install PostgreSQL, for example Debian's package postgresql")
        data = self._folder / "data"
        with (self._folder / "output.log").open("ab") as log:
            everywhere: dict[str, Any] = {"cwd": self._folder, "stdout": log, "stderr": log, **_as_somebody()}
            if not data.exists():
                made = [str(programs / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust"]
                subprocess.run([*made, "--no-sync", "--locale=C.UTF-8"], check=True, **everywhere)
            options = {
                "port": self.port,
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": "",
                "fsync": "off",
                "max_connections": 60,
            }
            arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
            command = [str(programs / "postgres"), "-D", str(data), *arguments]
            self._process = subprocess.Popen(command, start_new_session=True, **everywhere)
        try:
            wait_until(self._answers, self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and its connections at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            stop(self._process)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all of its processes, with their connections open, for as long as the block runs."""
        assert self._process is not None
        everybody = [self._process.pid, *self._backends()]
        for each in everybody:
            os.kill(each, signal.SIGSTOP)
        try:
            yield
        finally:
            for each in reversed(everybody):
                os.kill(each, signal.SIGCONT)

    def ask(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement of the test's own and return its rows."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as session:
            cursor = session.execute(statement)  # type: ignore[call-overload]  # text, not a literal
            return cursor.fetchall() if cursor.description else []

    def _backends(self) -> list[int]:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(child) for child in children.read_text().split()]

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=2):
                return True
        except psycopg.Error:
            return False


def _as_somebody() -> dict[str, Any]:
    if os.geteuid():
        return {}
    user = _somebody()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _somebody() -> pwd.struct_passwd:
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(names[name] for name in _USERS if name in names)


@contextmanager
def running() -> Iterator[PostgresServer]:
    # Not below pytest's folder, which root alone may enter.
    folder = Path(tempfile.mkdtemp(prefix="webcall-postgres-"))
    if not os.geteuid():
        os.chown(folder, _somebody().pw_uid, _somebody().pw_gid)
    server = PostgresServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server for the whole session."""
    with running() as server:
        yield server


@pytest.fixture
def postgres_outage() -> Iterator[PostgresServer]:
    """A running server of the test's own, to stop and to start."""
    with running() as server:
        yield server


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database that is empty, and removed after the test."""
    name = f"test_{uuid.uuid4().hex}"
    postgres_server.ask(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    postgres_server.ask(f"DROP DATABASE {name} WITH (FORCE)")
