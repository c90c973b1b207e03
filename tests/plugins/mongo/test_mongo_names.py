"""The backend `mongo` where DNS hangs: nobody waits for a name longer than for anything else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dns.resolver
import pytest

from plugins.mongo.connection import Connection
from tests.support.http import at_once
from tests.support.mongo import MongoServer
from tests.support.names import Names
from webcall import BackendError

TIMEOUT_S = 1.0
# Of a machine that does much else.
SLACK_S = 5.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    """A server of the test's own."""
    started = MongoServer(tmp_path)
    started.start()
    yield started
    started.stop()


def outcome(connection: Connection) -> tuple[str, float]:
    began = time.monotonic()
    try:
        connection.ping()
    except BackendError as error:
        return str(error), time.monotonic() - began
    return "", time.monotonic() - began


def test_a_name_of_which_nothing_is_known(names: Names) -> None:
    """With a resolver that hangs from the start an operation fails in time."""
    names.hangs = True
    connection = Connection(f"mongodb://{names.name}:1", "names", TIMEOUT_S)
    told, took_s = outcome(connection)
    assert names.asked.is_set()
    assert "ServerSelectionTimeoutError" in told
    assert took_s < TIMEOUT_S + SLACK_S
    connection.close()


def test_a_name_of_which_no_look_up_can_be_made() -> None:
    """A label of more than 63 characters is told as such, and not as a look-up that took too long."""
    connection = Connection(f"mongodb://{'a' * 64}.example:1", "names", TIMEOUT_S)
    told, took_s = outcome(connection)
    assert told
    assert "in time" not in told
    assert took_s < TIMEOUT_S + SLACK_S
    connection.close()


def test_a_new_connection_to_a_known_server(names: Names, server: MongoServer) -> None:
    """Where one connection is not enough the new one's name is not waited for; the old ones go on."""
    port = server.uri.rpartition(":")[2]
    connection = Connection(f"mongodb://{names.name}:{port}", "names", TIMEOUT_S)
    assert outcome(connection)[0] == ""
    names.hangs = True
    with server.frozen():
        answers = at_once(4, lambda _: outcome(connection))
    assert names.asked.is_set()
    assert all(took_s < TIMEOUT_S + SLACK_S for _, took_s in answers)
    assert [told for told, _ in answers if "its name is not looked up in time" in told]
    connection.close()


def test_kept_connections_need_no_name(names: Names, server: MongoServer) -> None:
    """While the resolver hangs, what goes by a connection that is there is answered, however others fare."""
    port = server.uri.rpartition(":")[2]
    connection = Connection(f"mongodb://{names.name}:{port}", "names", TIMEOUT_S)
    assert outcome(connection)[0] == ""
    names.hangs = True
    failed: list[str] = []
    for _ in range(50):
        failed += [told for told, _ in at_once(8, lambda _: outcome(connection)) if told]
        if failed:
            break
    assert all("its name is not looked up in time" in told for told in failed)
    assert outcome(connection)[0] == ""
    connection.close()


def test_a_list_of_servers_that_dns_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address of MongoDB Atlas fails in time where no name server answers, and the message says so."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], silent.getsockname()[1]
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        connection = Connection("mongodb+srv://user:p4ssw0rd@cluster.example.com/", "names", TIMEOUT_S)
        for _ in range(2):
            told, took_s = outcome(connection)
            assert "cluster.example.com: ConfigurationError: DNS does not know or tell its servers" in told
            assert "p4ssw0rd" not in told
            assert took_s < 2 * TIMEOUT_S + SLACK_S
        connection.close()
