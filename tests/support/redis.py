"""A real Redis on a free loopback port, keeping nothing on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from scripts.servers import redis_answers, redis_command
from tests.support.programs import command, free_port
from tests.support.server_process import ServerProcess
from webcall.core import redis_in_time


class RedisServer(ServerProcess):
    """The server; it starts empty each time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.uri = f"redis://127.0.0.1:{self.port}/0"

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Give a client of the test's own."""
        client = redis.Redis.from_url(self.uri)
        try:
            yield client
        finally:
            client.close()

    def _command(self) -> list[str]:
        return command(lambda: redis_command(self.port))

    def _answers(self) -> bool:
        return redis_answers(self.port)


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_server(_redis_server: RedisServer) -> RedisServer:
    """A running Redis, shared by the session and emptied before each test."""
    with _redis_server.client() as client:
        client.flushall()
    return _redis_server


@pytest.fixture
def redis_uri(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of `redis_server`, which has time to answer: a machine that stands still is no outage.

    What is about Redis's deadlines uses `redis_server` or `redis_outage`.
    """
    monkeypatch.setattr(redis_in_time, "TIMEOUT_S", 10.0)
    return redis_server.uri


@pytest.fixture
def redis_outage(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis of the test's own, to freeze, to stop and to start."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


def lose_answers(monkeypatch: pytest.MonkeyPatch, most: int, kind: type = list) -> list[int]:
    """Let so many of Redis's next answers of a kind be lost on their way; return a list with one for each."""
    lost: list[int] = []
    read = redis.Connection.read_response

    def read_or_lose(connection: redis.Connection, *args: Any, **kwargs: Any) -> Any:
        answer = read(connection, *args, **kwargs)
        if len(lost) < most and isinstance(answer, kind):
            lost.append(1)
            connection.disconnect()
            raise redis.ConnectionError("lost")
        return answer

    monkeypatch.setattr(redis.Connection, "read_response", read_or_lose)
    return lost
