"""Connections to Redis: no answer, no greeting and no name holds a call for longer than it may."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from tests.support.programs import free_port, stop, wait_until, without
from tests.support.redis import RedisServer
from webcall.core import redis_in_time
from webcall.core.redis_in_time import drop_kept, make_pool
from webcall.core.storage import TIMEOUT_S, redis_client

# To connect, to greet, and for the command.
MOST_S = 3 * TIMEOUT_S + 1


@pytest.fixture
def dripping() -> Iterator[int]:
    """The port of a server that sends a byte of an endless answer every 50 ms."""
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            try:
                connection.sendall(b"+")
                while not over.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        over.set()
        listener.shutdown(socket.SHUT_RDWR)


def fails(uri: str) -> float:
    """Return the seconds after which a command fails."""
    client = redis.Redis.from_pool(make_pool(uri))
    began = time.monotonic()
    with pytest.raises(redis.RedisError):
        client.get("a")
    took = time.monotonic() - began
    client.close()
    return took


def test_a_dripping_answer_ends_in_time(dripping: int) -> None:
    """A server that goes on sending is not waited for without end."""
    assert fails(f"redis://127.0.0.1:{dripping}") < MOST_S


def test_an_answer_that_is_there_is_read_late(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is short of CPU and gets late to what Redis has answered takes it, within bounds."""
    steps = itertools.count()

    def connects(step_s: float) -> bool:
        clock = SimpleNamespace(monotonic=lambda: next(steps) * step_s)
        monkeypatch.setattr(redis_in_time, "time", clock)
        client = redis.Redis.from_pool(make_pool(redis_server.uri))
        try:
            return bool(client.ping())
        except redis.TimeoutError:
            return False
        finally:
            client.close()

    # Five answers, all but the last to the greeting.
    assert connects(0.35 * TIMEOUT_S)
    assert not connects(1.1 * TIMEOUT_S)


def test_a_name_that_is_not_looked_up_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that hangs is left to itself, and a name that is not known is told at once."""
    let_go = threading.Event()

    def hang(*_: Any, **__: Any) -> Any:
        let_go.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "let go")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert fails("redis://redis.example:6379") < MOST_S
    let_go.set()
    assert fails("redis://redis.example:6379") < MOST_S


def test_each_address_of_a_name_is_tried(redis_server: RedisServer) -> None:
    """`localhost` is two addresses, and the server listens on one of them."""
    client = redis_client(redis_server.uri.replace("127.0.0.1", "localhost"))
    assert client.ping()
    client.close()


def test_kept_connections_can_be_dropped(redis_server: RedisServer) -> None:
    """A pool whose kept connections were dropped connects anew."""
    client = redis_client(redis_server.uri)
    first = client.client_id()
    assert client.client_id() == first
    drop_kept(client.connection_pool)
    assert client.client_id() != first
    client.close()


def test_tls_checks_the_name(tmp_path: Path) -> None:
    """`rediss://` speaks TLS in time as well, and checks the certificate by the name that was given."""
    programs = {name: shutil.which(name) for name in ("redis-server", "openssl")}
    for name, found in programs.items():
        if found is None:
            without(name, f"install it, for example Debian's package {name}")
    pem, key = tmp_path / "own.pem", tmp_path / "own.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=own"]
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(pem)]
    subprocess.run([*command, *more], check=True, capture_output=True)
    port = free_port()
    options = ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", ""]
    options += ["--tls-cert-file", str(pem), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    server = subprocess.Popen(["redis-server", *options], cwd=tmp_path, stdout=subprocess.DEVNULL)

    def ping(host: str) -> bool:
        client = redis_client(f"rediss://{host}:{port}?ssl_ca_certs={pem}")
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False
        finally:
            client.close()

    try:
        wait_until(lambda: ping("localhost"), server)
        assert not ping("127.0.0.1")
    finally:
        stop(server)
