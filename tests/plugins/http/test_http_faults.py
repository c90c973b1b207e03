"""Whatever goes wrong between the backend and the company's service is an outage, and in time."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from plugins.http.client import Client
from plugins.http.lookups import HttpAssistants, HttpKeys
from plugins.http.settings import HttpSettings
from tests.support.company import SECRET, Act, Misbehaving, reply, signed
from tests.support.names import Names
from tests.support.programs import free_port, without
from webcall.errors import BackendError, RecordError, Refused
from webcall.interfaces import Caller
from webcall.records import hash_api_key

RECORD = json.dumps({"user_email": "ada@example.com"}).encode()
# Enough for a good answer on a machine that does other work too.
TIMEOUT_S = 2.0
BOMB = gzip.compress(b" " * 50_000_000, 1)


def make(url: str, **settings: Any) -> HttpKeys:
    values = {"url": url, "secret": SECRET, "timeout_s": TIMEOUT_S, **settings}
    loaded = HttpSettings().load(values)
    return HttpKeys(Client(**{name: value for name, value in loaded.items() if name != "send"}))


def outage(keys: HttpKeys) -> tuple[str, float]:
    """Return the message of the outage that a look-up ends in, and its seconds."""
    began = time.monotonic()
    try:
        with pytest.raises(BackendError) as caught:
            keys.validate("lvk_canary")
    finally:
        keys.close()
    assert not isinstance(caught.value, RecordError)
    assert "canary" not in str(caught.value)
    return str(caught.value), time.monotonic() - began


def answering(body: bytes = RECORD, *, status: int = 200, **more: Any) -> Act:
    def act(connection: socket.socket, request: bytes) -> None:
        connection.sendall(reply(body, signed(body, request, status=status), status=status, **more))

    return act


def drip(connection: socket.socket, request: bytes) -> None:
    for byte in reply(RECORD, signed(RECORD, request)):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def half(connection: socket.socket, request: bytes) -> None:
    connection.sendall(reply(RECORD, signed(RECORD, request), length=1000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def silent(connection: socket.socket, request: bytes) -> None:
    connection.recv(1)


def bomb(connection: socket.socket, request: bytes) -> None:
    more = "Content-Encoding: gzip\r\n"
    connection.sendall(reply(BOMB, signed(BOMB, request), more=more))


def unsigned(connection: socket.socket, request: bytes) -> None:
    connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def of_another_secret(connection: socket.socket, request: bytes) -> None:
    connection.sendall(reply(RECORD, signed(RECORD, request, secret="x" * 40)))


def of_another_question(connection: socket.socket, request: bytes) -> None:
    connection.sendall(reply(RECORD, signed(RECORD, request, what="assistants")))


def with_another_status(connection: socket.socket, request: bytes) -> None:
    connection.sendall(reply(RECORD, signed(RECORD, request, status=404)))


FAULTS: dict[str, tuple[Act, str]] = {
    "black hole": (silent, "no answer within"),
    "drip": (drip, "no answer within"),
    "reset in mid-body": (half, "ClientPayloadError"),
    "redirect": (answering(b"", status=302, more="Location: http://127.0.0.1:1/\r\n"), "answered 302"),
    "429": (answering(status=429), "answered 429"),
    "500": (answering(status=500), "answered 500"),
    "garbage": (lambda connection, _: connection.sendall(b"\0\1garbage\r\n\r\n"), "http: "),
    "no JSON": (answering(b"<html>"), "not JSON"),
    "too large": (answering(b" " * 70_000), "larger than"),
    "gzip bomb": (bomb, "compressed"),
    "a proxy's 404": (unsigned, "without a good signature"),
    "another secret": (of_another_secret, "without a good signature"),
    "another question's answer": (of_another_question, "without a good signature"),
    "another status": (with_another_status, "without a good signature"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_an_outage_in_time(fault: str) -> None:
    """No fault is an answer, none takes longer than the timeout and half a second, and no key is told."""
    act, told = FAULTS[fault]
    with Misbehaving(act) as server:
        message, seconds = outage(make(f"http://127.0.0.1:{server.port}", max_answer_bytes=65536))
    assert told in message
    assert seconds < TIMEOUT_S + 1


@pytest.mark.parametrize("told", [{"api_key_hash": "0" * 64}, {"api_key_hash": None}])
def test_a_record_of_another_key_is_a_fault_of_it(told: dict[str, Any]) -> None:
    """A signed record about another key, or about none, is no "not mine": it cannot be used."""
    record = json.dumps({"user_email": "ada@example.com", **told}).encode()
    with Misbehaving(answering(record)) as server:
        keys = make(f"http://127.0.0.1:{server.port}")
        with pytest.raises(RecordError, match="api_key_hash"):
            keys.validate("lvk_canary")
        keys.close()


@pytest.mark.parametrize("told", [{"assistant_id": "other"}, {"assistant_id": None}, {}])
def test_a_record_of_another_assistant_is_a_fault_of_it(told: dict[str, Any]) -> None:
    """A signed record about another assistant, or about none, is no "not mine": it cannot be used."""
    record = json.dumps({"assistant_created_by_email": "ada@example.com", **told}).encode()

    def act(connection: socket.socket, request: bytes) -> None:
        connection.sendall(reply(record, signed(record, request, what="assistants")))

    with Misbehaving(act) as server:
        keys = make(f"http://127.0.0.1:{server.port}")
        assistants = HttpAssistants(keys._client)
        with pytest.raises(RecordError, match="assistant_id"):
            assistants.get("helper", Caller(email="ada@example.com"))
        assistants.close()


def test_a_service_that_is_down_is_an_outage() -> None:
    """A refused connection is an outage, and no waiting."""
    message, seconds = outage(make(f"http://127.0.0.1:{free_port()}"))
    assert "ClientConnectorError" in message
    assert seconds < TIMEOUT_S + 1


def test_a_look_up_in_dns_that_hangs(names: Names) -> None:
    """Where no name server answers each look-up is an outage in time, and soon after its return none is."""
    # The one name that may be asked without TLS.
    names.name = "localhost"
    with Misbehaving(answering()) as server:
        keys = make(f"http://{names.name}:{server.port}", timeout_s=0.5)
        names.hangs = True
        # More than threads that aiohttp itself would look names up in.
        for _ in range(8):
            began = time.monotonic()
            with pytest.raises(BackendError, match="no answer within"):
                keys.validate("lvk_canary")
            assert time.monotonic() - began < 0.5 + 2
        # The look-ups that hang go on hanging: the next one is not behind them.
        names.hangs = False
        until = time.monotonic() + 10
        while True:
            try:
                assert keys.validate("lvk_canary") is not None
                break
            except BackendError:
                assert time.monotonic() < until
        names.hangs = True
        assert keys.validate("lvk_canary") is not None, "a kept connection needs no name"
        keys.close()


def test_an_old_answer_holds_no_more() -> None:
    """An answer that was recorded is refused when it comes again."""
    recorded: list[bytes] = []

    def act(connection: socket.socket, request: bytes) -> None:
        recorded.append(reply(RECORD, signed(RECORD, request)))
        connection.sendall(recorded[0])

    with Misbehaving(act) as server:
        keys = make(f"http://127.0.0.1:{server.port}")
        assert keys.validate("lvk_canary") is not None
        assert "without a good signature" in outage(keys)[0]


@pytest.mark.parametrize(("status", "refused"), [(404, False), (401, False), (403, True)])
def test_signed_noes_are_noes(status: int, refused: bool) -> None:
    """A signed 404 or 401 is "not mine", and a signed 403 a refusal."""
    with Misbehaving(answering(b"{}", status=status)) as server:
        keys = make(f"http://127.0.0.1:{server.port}")
        if refused:
            with pytest.raises(Refused):
                keys.validate("lvk_canary")
        else:
            assert keys.validate("lvk_canary") is None
        keys.close()


def test_a_broken_kept_connection_costs_one_repeat() -> None:
    """A connection that the service closed meanwhile is no outage; closing each one is, after two."""
    closing = threading.Event()

    def act(connection: socket.socket, request: bytes) -> None:
        if closing.is_set():
            connection.close()
            closing.clear()
        else:
            answering()(connection, request)

    with Misbehaving(act) as server:
        keys = make(f"http://127.0.0.1:{server.port}")
        assert keys.validate("lvk_canary") is not None
        closing.set()
        assert keys.validate("lvk_canary") is not None
        assert (server.connections, server.requests) == (2, 3)
        keys.close()
    with Misbehaving(lambda connection, _: connection.close()) as server:
        outage(make(f"http://127.0.0.1:{server.port}"))
        assert server.requests == 2


@pytest.mark.parametrize("silent_ones", [False, True])
def test_connections_that_all_went_stale(silent_ones: bool) -> None:
    """Of kept connections that are all closed none costs an outage; of those without a peer, one does."""
    stale: set[socket.socket] = set()
    together = threading.Barrier(4)

    def act(connection: socket.socket, request: bytes) -> None:
        if connection in stale:
            silent(connection, request) if silent_ones else connection.close()
            return
        if not stale:
            together.wait(10)
        answering()(connection, request)

    with Misbehaving(act) as server:
        keys = make(f"http://127.0.0.1:{server.port}")
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(lambda n: keys.validate(f"lvk_{n}"), range(4)))
        stale.update(server.open_connections)
        assert len(stale) == 4
        if silent_ones:
            with pytest.raises(BackendError):
                keys.validate("lvk_canary")
        assert keys.validate("lvk_canary") is not None
        keys.close()


def test_connections_are_kept_and_few() -> None:
    """64 threads share at most `max_connections` connections, and each gets its answer."""
    with Misbehaving(answering()) as server:
        keys = make(f"http://127.0.0.1:{server.port}", max_connections=4, timeout_s=20)
        with ThreadPoolExecutor(64) as pool:
            found = list(pool.map(lambda n: keys.validate(f"lvk_{n}"), range(256)))
        assert all(found)
        assert server.requests == 256
        assert server.connections <= 4
        keys.close()


def test_no_thread_before_and_after() -> None:
    """There is no thread before the first question, and none after close()."""

    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name == "http backend"]

    with Misbehaving(answering()) as server:
        keys = make(f"http://127.0.0.1:{server.port}")
        assert threads() == []
        keys.validate("lvk_canary")
        assert threads() == ["http backend"]
        keys.close()
    assert threads() == []


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1 that only itself vouches for, and a server's context with it."""
    if shutil.which("openssl") is None:
        without("openssl", "install OpenSSL's command line, for example Debian's package openssl")
    file, key = tmp_path / "own.pem", tmp_path / "own.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=own"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(file)]
    subprocess.run([*command, *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return file, context


def test_certificates_are_checked(certificate: tuple[Path, ssl.SSLContext]) -> None:
    """A certificate that nobody vouches for is an outage, and one of the operator's own CA is good."""
    file, context = certificate
    with Misbehaving(answering(), context) as server:
        message, _ = outage(make(f"https://127.0.0.1:{server.port}", timeout_s=5))
        assert "CertificateError" in message
        keys = make(f"https://127.0.0.1:{server.port}", ca_file=str(file), timeout_s=5)
        assert keys.validate("lvk_canary") is not None
        keys.close()


def test_the_key_itself_is_sent_only_where_it_is_asked_for() -> None:
    """The service gets the key's SHA-256, or the key where `send: key` says so."""
    bodies: list[bytes] = []

    def act(connection: socket.socket, request: bytes) -> None:
        bodies.append(request.partition(b"\r\n\r\n")[2])
        answering()(connection, request)

    with Misbehaving(act) as server:
        keys = make(f"http://127.0.0.1:{server.port}")
        keys.validate("lvk_canary")
        keys.close()
        plain = HttpKeys(make(f"http://127.0.0.1:{server.port}")._client, send_key=True)
        plain.validate("lvk_canary")
        plain.close()
    assert [json.loads(body) for body in bodies] == [
        {"api_key_hash": hash_api_key("lvk_canary")},
        {"api_key": "lvk_canary"},
    ]
