"""The backend `mongo` while the server is down, silent or back again."""

from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from pymongo import errors

from plugins.mongo.assistants import MongoAssistants
from plugins.mongo.connection import Connection, _Client
from plugins.mongo.keys import MongoKeys
from tests.support.mongo import MongoServer
from tests.support.programs import free_port
from webcall import BackendError, Caller
from webcall.records import hash_api_key

ADA = Caller(email="ada@example.com")
KEY, PASSWORD, ASSISTANT = "lvk_canary-of-a-key", "p4ssw0rd-canary", "assistant-canary"
TIMEOUT_S = 0.3


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Return the address of a socket that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def assert_outage(address: str, *operations: Callable[[], Any]) -> str:
    """Hold that each operation fails in time, and with a message that may stand in a log."""
    told = ""
    for operation in operations:
        begun = time.monotonic()
        with pytest.raises(BackendError, match=address) as caught:
            operation()
        assert time.monotonic() - begun < TIMEOUT_S + 1
        told = str(caught.value)
        logged = "".join(traceback.format_exception(caught.value))
        for secret in (KEY, hash_api_key(KEY), PASSWORD, ASSISTANT):
            assert secret not in told
            assert secret not in logged
    return told


def every_operation(keys: MongoKeys, assistants: MongoAssistants) -> list[Callable[[], Any]]:
    record = {"assistant_id": ASSISTANT, "assistant_created_by_email": ADA.email}
    key = {"api_key_hash": hash_api_key(KEY), "user_email": ADA.email}
    return [
        lambda: keys.validate(KEY),
        lambda: assistants.get(ASSISTANT, ADA),
        keys.ping,
        assistants.ping,
        lambda: list(keys.list_keys()),
        lambda: keys.add_key(key),
        lambda: keys.update_key(hash_api_key(KEY), {"is_active": False}),
        lambda: list(assistants.list_assistants()),
        lambda: assistants.put_assistant(record),
        lambda: assistants.find_assistant(ASSISTANT),
        lambda: assistants.delete_assistant(ASSISTANT),
        keys.unprepared,
    ]


@pytest.fixture
def backends() -> Iterator[Callable[[str], tuple[MongoKeys, MongoAssistants]]]:
    made: list[Any] = []

    def make(uri: str) -> tuple[MongoKeys, MongoAssistants]:
        pair = (
            MongoKeys(Connection(uri, "outage", TIMEOUT_S)),
            MongoAssistants(Connection(uri, "outage", TIMEOUT_S)),
        )
        made.extend(pair)
        return pair

    yield make
    for backend in made:
        backend.close()


def test_absent_server_fails_every_operation_in_time(backends: Any) -> None:
    """With nothing at the address every operation fails in time; the message names address and cause."""
    address = f"127.0.0.1:{free_port()}"
    pair = backends(f"mongodb://ada:{PASSWORD}@{address}/?authSource=admin")
    assert "refused" in assert_outage(address, *every_operation(*pair))


def test_silent_server_fails_every_operation_in_time(backends: Any, black_hole: str) -> None:
    """A server that takes connections and never answers holds no operation beyond its timeout."""
    pair = backends(f"mongodb://ada:{PASSWORD}@{black_hole}/?authSource=admin")
    assert_outage(black_hole, *every_operation(*pair)[:4])


def test_server_comes_and_goes_without_a_restart(backends: Any, mongo_outage: MongoServer) -> None:
    """A used object fails in time while the server is frozen or gone, and answers when it is back."""
    keys, assistants = backends(mongo_outage.uri)
    address = mongo_outage.uri.removeprefix("mongodb://")
    look_ups = every_operation(keys, assistants)[:2]

    def answers() -> bool:
        try:
            return [look_up() for look_up in look_ups] == [None, None]
        except BackendError:
            return False

    assert answers()
    with mongo_outage.frozen():
        assert_outage(address, *look_ups)
    mongo_outage.stop()
    assert_outage(address, *look_ups)
    mongo_outage.start()
    deadline = time.monotonic() + 10
    while not answers():  # the driver looks for a lost server twice a second
        assert time.monotonic() < deadline
    assert (keys.ping(), assistants.ping()) == (None, None)


@pytest.mark.parametrize(
    "error",
    [
        errors.OperationFailure(f"failed {KEY}", 13, {"codeName": "Unauthorized", "errmsg": KEY}),
        errors.DuplicateKeyError(f"dup key: {KEY}", 11000, {"keyValue": {"api_key": KEY}}),
        errors.NotPrimaryError(f"no {KEY}", {"errmsg": KEY}),
        errors.AutoReconnect(f"host:1: gone, full error: {{'errmsg': '{KEY}'}}"),
        errors.InvalidOperation(KEY),
    ],
    ids=lambda error: type(error).__name__,
)
def test_message_of_the_server_stays_out_of_the_log(error: Exception) -> None:
    """Of what the driver or the server says only class, code and connection's cause are told."""
    with pytest.raises(BackendError) as caught, Connection("mongodb://h:1", "d", 1).translated():
        raise error
    assert str(caught.value).startswith(f"MongoDB at h:1: {type(error).__name__}")
    assert KEY not in str(caught.value)
    if isinstance(error, errors.OperationFailure):
        assert f"code {error.code}" in str(caught.value)


def test_a_newer_client_of_another_thread() -> None:
    """What is replaced is closed, though another thread has put in a newer client at that very moment."""
    connection = Connection("mongodb://127.0.0.1:1", "webcall", 0.05)
    closed = threading.Event()

    class Driver:
        def close(self) -> None:
            closed.set()

    class Raced(dict[int, Any]):
        def get(self, pid: int, default: Any = None) -> Any:
            found = super().get(pid, default)
            self[pid] = _Client(cast(Any, Driver()), time.monotonic())
            return found

    connection._clients = Raced({os.getpid(): _Client(cast(Any, None), time.monotonic() - 60)})
    connection._replace_client()
    assert closed.wait(5)
    assert not dict(connection._clients)
