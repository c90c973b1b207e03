"""A MongoDB-compatible server on loopback for the tests: `mongod` if there is one, else nx-27017."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pymongo
import pytest

from scripts.servers import mongo_answers, mongo_command
from tests.support.programs import command, free_port
from tests.support.server_process import ServerProcess


class MongoServer(ServerProcess):
    """The server."""

    def __init__(self, folder: Path, *, keeps: bool = False) -> None:
        """Take a folder for its files; with `keeps` the data outlive a stop, as `mongod`'s always do."""
        super().__init__(folder)
        self._keeps = keeps
        self._port = free_port()
        self.uri = f"mongodb://127.0.0.1:{self._port}"

    def client(self) -> pymongo.MongoClient[dict[str, object]]:
        """Return a client of the test's own; the test closes it."""
        return pymongo.MongoClient(self.uri, serverSelectionTimeoutMS=10_000, tz_aware=True)

    def _command(self) -> list[str]:
        return command(lambda: mongo_command(self._port, self._folder, keeps=self._keeps))

    def _answers(self) -> bool:
        return mongo_answers(self._port)


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """A running server for the whole session; a test that stops it starts it again."""
    server = MongoServer(tmp_path_factory.mktemp("mongo"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mongo_outage(tmp_path: Path) -> Iterator[MongoServer]:
    """A running server of the test's own, to stop and to start."""
    server = MongoServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mongo_database(mongo_server: MongoServer) -> Iterator[str]:
    """The name of a database that is empty, and removed after the test."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with mongo_server.client() as client:
        client.drop_database(name)
