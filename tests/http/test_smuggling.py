"""Requests that a proxy and the service could read as two different ones, and headers that imitate others."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.deployment import KEY, Service, bearer, store_records
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL, JSON, send

BODY = b'{"assistant_id": "helper"}'
HIDDEN = b"GET /web_call/assistants HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def service(
    fake_livekit: FakeLiveKit,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    make_service: Callable[[Mapping[str, str]], Service],
) -> Service:
    """The sample deployment as it stands behind one proxy."""
    given = fake_livekit.environment | store_records("env", tmp_path, request)
    return make_service(given | {"WEBCALL_TRUSTED_PROXIES": "1", "WEBCALL_LIMIT_FAILED_AUTH": "1/minute"})


def answers(port: int, *headers: str, body: bytes = b"") -> list[bytes]:
    """Send one request as bytes; return the status lines that come back until the connection ends."""
    head = "\r\n".join([f"POST {CALL} HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}", *headers, "", ""])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(head.encode("latin-1") + body)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while part := client.recv(65536):
            received += part
    return [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


AMBIGUOUS = (
    ("Content-Length: 26", "Transfer-Encoding: chunked"),
    ("Content-Length: 26", "Content-Length: 5"),
    ("Content-Length: 26, 5",),
    ("Content-Length: +26",),
    ("Content-Length: 0x1a",),
    ("Transfer-Encoding: chunked, identity",),
    ("Transfer-Encoding: xchunked",),
    ("Transfer-Encoding : chunked",),
    ("Content-Length : 26",),
    ("X-A: b\rTransfer-Encoding: chunked",),
    ("X-A: b\nContent-Length: 26",),
)


def test_an_ambiguous_length_is_refused(service: Service, fake_livekit: FakeLiveKit) -> None:
    """What could be read in two ways is refused, places no call, and ends the connection."""
    for headers in AMBIGUOUS:
        found = answers(service.port, "Content-Type: application/json", *headers, body=BODY + HIDDEN)
        assert len(found) <= 1, headers
        assert all(line.split()[1] in (b"400", b"422", b"501") for line in found), headers
    assert fake_livekit.count("CreateRoom") == 0
    sent = f"Content-Length: {len(BODY)}"
    [plain] = answers(service.port, "Content-Type: application/json", "Connection: close", sent, body=BODY)
    assert plain.split()[1] == b"200", "what is not ambiguous arrives"


def test_a_header_that_imitates_the_proxys_is_dropped(service: Service) -> None:
    """`X_Forwarded_For` is not `X-Forwarded-For`: who sends it does not choose the address to count under."""
    for client in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        bad = bearer("lvk_unknown") | JSON | {"X_Forwarded_For": client, "X-Forwarded-For": "198.51.100.7"}
        status = send(service.port, {}, bad).status
    assert status == 429
    other = bearer("lvk_unknown") | JSON | {"X-Forwarded-For": "198.51.100.8"}
    assert send(service.port, {}, other).status == 401
