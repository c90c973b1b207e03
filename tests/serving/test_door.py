"""The 503 of the worker process: the same answer as the application's, and who gets it."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.deployment import MakeApp, Service, bearer, store_records
from tests.support.fake_livekit import Exchange, FakeLiveKit
from tests.support.http import CALL, JSON, get, send
from webcall.serving.door import Door
from webcall.serving.lingering import LINGER_S
from webcall.serving.queues import MAX_WAIT_S, STANDING_S

PAGE = "https://shop.example.com"
# For a machine that is busy.
SLACK_S = 3.0
BODY = {"assistant_id": "helper"}


@pytest.fixture
def hanging_service(
    make_service: Callable[[Mapping[str, str]], Service],
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> tuple[Service, threading.Event]:
    """A service with places for six calls, and what lets the LiveKit answer that they all wait for."""
    released = threading.Event()

    def hang(exchange: Exchange) -> None:
        released.wait(60)
        exchange.serve()

    fake_livekit.script = hang
    records = store_records("env", tmp_path, request)
    settings = {"WEBCALL_THREADS": "8", "WEBCALL_LIMIT_PER_KEY": "off"}
    return make_service(fake_livekit.environment | records | settings), released


class Wire:
    """Bytes in the place of a connection."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self.content)


def parsed(content: bytes) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(Wire(content))  # type: ignore[arg-type]
    response.begin()
    return response


@pytest.mark.parametrize("origins", ["*", PAGE, "https://else.example.com", "off"])
def test_it_is_the_applications_answer(
    make_app: MakeApp, fake_livekit: FakeLiveKit, tmp_path: Path, request: pytest.FixtureRequest, origins: str
) -> None:
    """Body and headers are those of a 503 from the application, for a page's script as well."""
    app = make_app(
        fake_livekit.environment | store_records("env", tmp_path, request), http={"cors_origins": origins}
    )
    services = app.extensions["webcall"]
    services.use_threads(1)
    headers = {"Origin": PAGE, "X-Request-ID": "mine"}
    with services.gate.enter():
        theirs = app.test_client().post(CALL, json=BODY, headers=bearer() | headers)
    assert theirs.status_code == 503
    sent = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    ours = parsed(Door(services).answer(f"POST {CALL} HTTP/1.1\r\n{sent}\r\n".encode()))
    assert ours.status == 503
    assert json.loads(ours.read()) == theirs.json
    extra = {name: ours.headers[name] for name in ("Connection", "Content-Length", "Date")}
    assert extra["Connection"] == "close"
    assert dict(ours.headers) == dict(theirs.headers) | extra


def test_ids(
    make_app: MakeApp, fake_livekit: FakeLiveKit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A caller's own id is taken where it can be one, and nothing else of a request is in the answer."""
    services = make_app(fake_livekit.environment | store_records("env", tmp_path, request)).extensions[
        "webcall"
    ]
    door = Door(services)
    for given in ("", "x" * 129, "a b", "lvk_" + "k" * 43, "<script>"):
        answer = door.answer(f"POST {CALL} HTTP/1.1\r\nX-Request-ID: {given}\r\n\r\n".encode())
        assert len(parsed(answer).headers["X-Request-ID"]) == 32
    assert len(parsed(door.answer(b"\xff\x00")).headers["X-Request-ID"]) == 32
    both = "X-Request-ID: oldstyle-key.1234567890\r\nAuthorization: Bearer oldstyle-key.1234567890\r\n"
    assert b"oldstyle" not in door.answer(f"POST {CALL} HTTP/1.1\r\n{both}\r\n".encode())


def test_the_head_of_this_request_alone_counts(
    make_app: MakeApp, fake_livekit: FakeLiveKit, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Neither a body nor the next request gives the answer an id or lets a page read it."""
    environment = fake_livekit.environment | store_records("env", tmp_path, request)
    door = Door(make_app(environment, http={"cors_origins": PAGE}).extensions["webcall"])
    more = f"Origin: {PAGE}\r\nX-Request-ID: another\r\n\r\n"
    for behind in (f"{{}}\r\n{more}", f"POST {CALL} HTTP/1.1\r\n{more}"):
        head = f"POST {CALL} HTTP/1.1\r\nX-Request-ID: mine\r\nOrigin: https://evil.example\r\n\r\n"
        answer = parsed(door.answer((head + behind).encode()))
        assert answer.headers["X-Request-ID"] == "mine"
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert door.answer(f"HEAD {CALL} HTTP/1.1\r\n\r\n".encode()).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "whole"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbod", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyGET", False),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n", False),
        (b"", False),
    ],
)
def test_whole_requests(sent: bytes, whole: bool) -> None:
    """What has come whole may be closed at once; everything else is read on."""
    assert Door.is_whole(sent) is whole


@pytest.mark.parametrize(
    ("sent", "come"),
    [
        (b"", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbod", False),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyGET", True),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + b"b" * 16_000, False),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n" + b"b" * 16_384, True),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
    ],
)
def test_requests_that_have_come(sent: bytes, come: bool) -> None:
    """A thread is given to what it need not wait for, as far as that can be told."""
    assert Door.has_come(sent) is come


def test_who_is_turned_away(
    hanging_service: tuple[Service, threading.Event], fake_livekit: FakeLiveKit
) -> None:
    """With all places taken: the first to come waits, later ones get 503 at once, and /health is answered."""
    service, released = hanging_service

    def timed() -> tuple[int, float]:
        began = time.monotonic()
        return send(service.port, BODY, bearer() | JSON).status, time.monotonic() - began

    with ThreadPoolExecutor(8) as pool:
        hanging = [pool.submit(timed) for _ in range(6)]
        while fake_livekit.count("CreateRoom") < 6:
            time.sleep(0.01)
        waiting = pool.submit(timed)
        while not waiting.done():
            began = time.monotonic()
            assert get(service.port, "/health").status == 200
            assert time.monotonic() - began < MAX_WAIT_S + SLACK_S
        status, took = waiting.result()
        assert status == 503
        assert MAX_WAIT_S <= took < MAX_WAIT_S + SLACK_S
        # Once more somebody waits, and has waited for a while.
        waiting = pool.submit(timed)
        time.sleep(STANDING_S + 0.3)
        assert late_body(service.port) == 503
        assert waiting.result()[0] == 503
        released.set()
        assert {future.result()[0] for future in hanging} == {200}
    text = get(service.port, "/metrics").body.decode()
    assert 'webcall_requests_total{route="turned away",status="503"} 3.0' in text
    assert 'webcall_refused_total{reason="busy"} 3.0' in text
    until = time.monotonic() + 10
    while "overload is over" not in service.log.read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert service.log.read_text().count("overloaded: requests are turned away") >= 1


def test_who_sends_ahead_holds_nobody_up(
    hanging_service: tuple[Service, threading.Event], fake_livekit: FakeLiveKit
) -> None:
    """A call that came along with the request before it is turned away without waiting for more of it."""
    service, released = hanging_service
    with ThreadPoolExecutor(6) as pool:
        hanging = [pool.submit(send, service.port, BODY, bearer() | JSON) for _ in range(6)]
        while fake_livekit.count("CreateRoom") < 6:
            time.sleep(0.01)
        try:
            with socket.create_connection(("127.0.0.1", service.port), timeout=30) as ahead:
                lines = [f"POST {CALL} HTTP/1.1", "Host: x", "Content-Length: 2", "X-Request-ID: mine"]
                call = "\r\n".join([*lines, "", "{}"]).encode()
                ahead.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + call)
                # Both have come, and the second one's second is over.
                time.sleep(MAX_WAIT_S + 0.2)
                began = time.monotonic()
                assert get(service.port, "/health").status == 200
                took = time.monotonic() - began
                answers = b"".join(iter(lambda: ahead.recv(65536), b""))
        finally:
            released.set()
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"503"]
    assert took < SLACK_S
    assert b"\r\nX-Request-ID: mine\r\n" in answers
    assert {future.result().status for future in hanging} == {200}


def test_who_has_an_answer_and_goes_on_sending_is_let_go(
    make_service: Callable[[Mapping[str, str]], Service],
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """After its last answer a connection is read on for a moment, however slowly it sends."""
    service = make_service(fake_livekit.environment | store_records("env", tmp_path, request))
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as dripping:
        dripping.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: dripping.recv(65536), b"")).startswith(b"HTTP/1.1 200 ")
        answered = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while True:
                dripping.sendall(b"x")
                assert time.monotonic() - answered < 2 * LINGER_S + SLACK_S
                time.sleep(0.1)


def late_body(port: int) -> int:
    """Send a request whose body comes after its answer, which must not be lost by a reset."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", CALL)
    for name, value in (bearer() | JSON | {"Content-Length": "50000"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(b"x" * 30000)
    time.sleep(0.1)
    connection.send(b"x" * 20000)
    answer = connection.getresponse()
    assert answer.read()
    assert answer.headers["Retry-After"] == "1"
    connection.close()
    return answer.status


def test_workers_make_ids_of_their_own() -> None:
    """Processes that are forked from one that has made ids already go on with others."""
    code = """
import os
from webcall.core.answer_headers import new_request_id
new_request_id()
for _ in range(2):
    if not os.fork():
        os.write(1, f"{new_request_id()}\\n".encode())
        os._exit(0)
    os.wait()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    one, other = done.stdout.split()
    assert re.fullmatch("[0-9a-f]{32}", one)
    assert one != other
