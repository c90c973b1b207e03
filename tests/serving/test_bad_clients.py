"""Clients that send half a request, too much, or what is none: others are served, and nothing is quoted."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from gunicorn.workers.gthread import DEFAULT_WORKER_DATA_TIMEOUT
from livekit import api

from tests.support.deployment import ROOT, Service, bearer, store_records
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL, JSON, get, send
from tests.support.webhooks import PATH as WEBHOOK
from webcall.core.answer_headers import EVERYWHERE
from webcall.serving.door import LOOKED_AT, Door
from webcall.serving.worker import SILENCE_S

SLACK_S = 3.0
KEY = "lvk_" + "k" * 43
HEAD = (
    b"POST /web_call/get_token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 400"
)


@pytest.fixture
def service(
    make_service: Callable[[Mapping[str, str]], Service], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Service]:
    fake = FakeLiveKit()
    settings = {"WEBCALL_THREADS": "8", "WEBCALL_WORKERS": "1"}
    yield make_service(fake.environment | store_records("env", tmp_path, request) | settings)
    fake.close()


def exchange(port: int, *parts: bytes) -> bytes:
    """Send parts, each on its own, and return all that is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(0.2)
        return b"".join(iter(lambda: client.recv(65536), b""))


def changed_conf(folder: Path, line: str) -> Path:
    """Write what gunicorn.conf.py says, and one line more."""
    conf = folder / "conf.py"
    conf.write_text(
        "from pathlib import Path\n"
        "from webcall.serving import reading\n"
        f"exec(Path({str(ROOT / 'gunicorn.conf.py')!r}).read_text())\n"
        f"{line}\n"
    )
    return conf


def test_who_says_nothing_makes_room(
    make_service: Callable[[Mapping[str, str]], Service], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A worker that has as many connections as it may takes newcomers all the same: others go.

    Those are new, or have had an answer, or have sent a part of a request.
    """
    conf = changed_conf(tmp_path, "worker_connections, threads = 16, 8")
    settings = {"LIVEKIT_URL": "ws://127.0.0.1:9", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s" * 32}
    settings |= {"WEBCALL_WORKERS": "1", "GUNICORN_CMD_ARGS": f"--config={conf}"}
    service = make_service(store_records("env", tmp_path, request) | settings)
    with ExitStack() as clients:
        for number in range(60):
            client = socket.create_connection(("127.0.0.1", service.port), timeout=30)
            clients.enter_context(client)
            client.sendall((b"", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"G")[number % 3])
        began = time.monotonic()
        assert get(service.port, "/health").status == 200
        assert time.monotonic() - began < SILENCE_S / 2


def test_half_a_head_holds_no_thread(service: Service) -> None:
    """However many have sent a byte, others are answered, and so is a head that comes in parts."""
    with ExitStack() as clients:
        for _ in range(40):
            client = socket.create_connection(("127.0.0.1", service.port), timeout=30)
            clients.enter_context(client).sendall(b"G")
        time.sleep(0.3)
        began = time.monotonic()
        assert get(service.port, "/health").status == 200
        parts = (b"G", b"ET /health HTTP/1.1\r\nHost: x\r\n", b"Connection: close\r\n\r\n")
        assert exchange(service.port, *parts).startswith(b"HTTP/1.1 200 ")
        # The second one's head is cut where the first one's answer is given.
        ahead = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGE"
        rest = b"T /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert re.findall(rb"HTTP/1.1 (\d+)", exchange(service.port, ahead, rest)) == [b"200", b"200"]
        assert time.monotonic() - began < 1 + SLACK_S


@pytest.mark.parametrize("beginning", [HEAD, HEAD + b"\r\n\r\n{"], ids=["head", "body"])
def test_half_a_call_holds_no_thread(service: Service, beginning: bytes) -> None:
    """However many have sent a part of a call and go on, others are answered, and they end in time."""
    with ExitStack() as stack:
        began = time.monotonic()
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=30))
            for _ in range(40)
        ]
        for part in (beginning, b" ", b" "):
            for client in clients:
                client.sendall(part)
            assert send(service.port, {"assistant_id": "helper"}, bearer() | JSON).status == 200
        assert not any(client.recv(1) for client in clients)
        assert time.monotonic() - began < SILENCE_S + 2 * SLACK_S


def test_a_body_that_drips_has_an_end(
    make_service: Callable[[Mapping[str, str]], Service], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """However small its pauses: a key that was good at its beginning may have been revoked since."""
    conf = changed_conf(tmp_path, "reading.MOST_READING_S = 1.0")
    fake = FakeLiveKit()
    settings = {"WEBCALL_WORKERS": "1", "GUNICORN_CMD_ARGS": f"--config={conf}"}
    service = make_service(fake.environment | store_records("env", tmp_path, request) | settings)
    head = [f"POST {CALL} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
    head += [f"{name}: {value}" for name, value in (bearer() | JSON).items()]
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", service.port), timeout=0.2) as client:
        client.sendall("\r\n".join([*head, "", ""]).encode())
        answer = b""
        while not answer:
            assert time.monotonic() - began < 30
            client.sendall(b"1\r\n \r\n")
            with suppress(TimeoutError):
                answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert b"Connection: close" in answer
    fake.close()


def test_a_client_that_stalls_is_no_error(service: Service) -> None:
    """Half a call is closed after its time, without a line in the log."""
    assert exchange(service.port, b"POST /web_call/get_token HTTP/1.1\r\n") == b""
    assert "Socket error" not in service.log.read_text()


@pytest.mark.parametrize("headers", [bearer(), {}], ids=["413", "401"])
def test_an_unread_body_closes_and_says_so(service: Service, headers: dict[str, str]) -> None:
    """Where the rest of a body is not read, the answer says that the connection ends."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("POST", CALL, b" " * 200_000, headers | JSON)
    answer = connection.getresponse()
    assert answer.status == (413 if headers else 401)
    assert answer.headers["Connection"] == "close"
    answer.read()
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    ("path", "signature"),
    [(CALL, ""), (WEBHOOK, "nobody's"), (WEBHOOK, api.AccessToken("key", "s" * 32).to_jwt())],
    ids=["no key", "no signature", "a token to join with"],
)
def test_an_early_answer_waits_for_no_body(service: Service, path: str, signature: str) -> None:
    """Where the body is on its way, the connection ends with the answer, and it holds no thread meanwhile."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {signature}\r\n"
    began = time.monotonic()
    for framing, chunk in (
        (f"Content-Length: {2 * LOOKED_AT}", ""),
        ("Transfer-Encoding: chunked", "9999\r\n"),
    ):
        sent = f"{head}{framing}\r\n\r\n{chunk}".encode() + b" " * LOOKED_AT
        with ExitStack() as stack:
            # As many as there are threads.
            for _ in range(8):
                client = socket.create_connection(("127.0.0.1", service.port), timeout=30)
                stack.enter_context(client).sendall(sent)
            assert get(service.port, "/health").status == 200
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert (answer.status, answer.headers["Connection"]) == (401, "close")
            answer.read()
            assert client.recv(1) == b""
    assert time.monotonic() - began < DEFAULT_WORKER_DATA_TIMEOUT


def test_an_unread_body_that_has_come_ends_nothing(service: Service) -> None:
    """The next request on the connection is answered, whoever has read the first one."""
    for length in (10, 2 * LOOKED_AT):
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.request("POST", CALL, b" " * length, JSON)
        answer = connection.getresponse()
        assert answer.status == 401
        answer.read()
        kept = connection.sock
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        # A large one may still be on its way when the answer is given.
        assert connection.sock is kept or length > LOOKED_AT
        connection.close()


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (f"GET /health HTTP/1.1\r\nAuthorization Bearer {KEY}", 400),
        (f"{KEY}", 400),
        (f"GET /health HTTP/1.1\r\nTransfer-Encoding: {KEY}", 501),
    ],
)
def test_what_cannot_be_read_is_not_quoted(service: Service, lines: str, status: int) -> None:
    """What answers a malformed request is the envelope, with the usual headers, its line's id and no key."""
    head, _, body = exchange(service.port, f"{lines}\r\n\r\n".encode()).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert KEY.encode() not in head + body
    assert json.loads(body)["success"] is False
    for name, value in (EVERYWHERE | {"Cache-Control": "no-store"}).items():
        assert f"\r\n{name}: {value}\r\n".encode() in head + b"\r\n"
    found = re.search(rb"\r\nX-Request-ID: ([0-9a-f]{32})\r\n", head)
    assert found
    assert found[1].decode() in service.log.read_text()


@pytest.mark.parametrize(
    ("beginning", "call"),
    [
        (b"POST /web_call/get_token HTTP/1.1", True),
        (b"POST http://h/web_call/get_token HTTP/1.1", True),
        (b"POST HTTPS://h:1/web_call/get_token HTTP/1.1", True),
        (b"POST /%77eb_call/get_token HTTP/1.1", True),
        (b"POST //web_call/get_token HTTP/1.1", True),
        (b"POST http://h//%2fweb_call/get_token HTTP/1.1", True),
        (b"OPTIONS /web_call/get_token HTTP/1.1", False),
        (b"GET /health HTTP/1.1", False),
        (b"GET /health?/web_call/ HTTP/1.1", False),
        (b"G", False),
    ],
)
def test_calls_are_known(beginning: bytes, call: bool) -> None:
    """A call is known in every form that its target can have."""
    assert Door.is_call(beginning) is call
