"""What the watcher answers to strangers and to the malformed, and how long it waits for them."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from aiohttp import web

from tests.support.programs import free_port
from webcall.config.settings import LiveKitConfig
from webcall.core.answer_headers import EVERYWHERE
from webcall.core.room_events import RoomEvents
from webcall.core.watch.counters import WatchCounters
from webcall.core.watch.serving import WEBHOOK, make_runner, stop_serving

PATIENCE_S = 0.5
SLACK_S = 20
KEY = "lvk_" + "x" * 70_000


def exchange(sent: bytes, patience_s: float = 10) -> bytes:
    """Send these bytes to a watcher's address and return all that comes until the connection ends."""

    async def run() -> bytes:
        port = free_port()
        config = LiveKitConfig("ws://127.0.0.1:1", "", "key", "s" * 32, agent_name="", timeout_s=1)
        runner = make_runner(RoomEvents(config), WatchCounters(), "", config.http_url, patience_s)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            async with asyncio.timeout(SLACK_S):
                got = await reader.read()
            writer.close()
            return got
        finally:
            await stop_serving(runner)

    return asyncio.run(run())


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = (f"{line} HTTP/1.1", "Host: x", "Connection: close", *headers)
    return "".join(f"{one}\r\n" for one in lines).encode() + b"\r\n" + body


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("GET /health"), 200),
        (request("GET /metrics"), 200),
        (request("GET /"), 404),
        (request(f"GET {WEBHOOK}"), 405),
        (request(f"POST {WEBHOOK}", "Content-Length: 0"), 401),
        (request("GET /health", "Authorization: Bearer " + "x" * 60_000), 200),
        (
            request(f"POST {WEBHOOK}", "Authorization: x", "Content-Length: 70000", body=b"x" * 70_000),
            413,
        ),
        (request(f"POST {WEBHOOK}", "Authorization: x", CHUNKED, body=b"zz\r\n\r\n"), 400),
        (request("GET /health", f"Authorization: {KEY}"), 400),
        (b"GET /health HTTP/1.1\r\nlvk_secret_secret\r\n\r\n", 400),
        (b"\x16\x03\x01lvk_secret_secret\r\n\r\n", 400),
    ],
)
def test_every_answer(sent: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Every answer has the envelope and the headers, quotes nothing, and leaves no traceback."""
    with caplog.at_level(logging.WARNING):
        got = exchange(sent)
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert first.split()[1] == str(status)
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert headers["cache-control"] == "no-store"
    assert len(headers["x-request-id"]) == 32
    for name, value in EVERYWHERE.items():
        assert headers[name.lower()] == value
    if b"metrics" not in sent:
        envelope: dict[str, Any] = json.loads(body)
        assert list(envelope) == ["success", "message", "data"]
        assert envelope["success"] is (status == 200)
    assert (headers.get("allow") == "POST") is (status == 405)
    assert b"lvk_" not in got
    assert not [record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING]


def test_a_callers_own_id_comes_back() -> None:
    """X-Request-ID is the caller's own, if it can be one."""
    assert b"X-Request-ID: mine-1\r\n" in exchange(request("GET /health", "X-Request-ID: mine-1"))
    assert b"lvk_" not in exchange(request("GET /health", f"X-Request-ID: lvk_{'x' * 20}"))


@pytest.mark.parametrize(
    ("sent", "starts"),
    [
        (b"", b""),
        (b"GET /health HT", b""),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX-", b""),
        (request(f"POST {WEBHOOK}", "Authorization: x", "Content-Length: 9", body=b"x"), b"HTTP/1.1 408"),
        (request(f"POST {WEBHOOK}", "Content-Length: 9", body=b"x"), b"HTTP/1.1 401"),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /", b"HTTP/1.1 200"),
    ],
)
def test_half_a_request_is_not_waited_for(sent: bytes, starts: bytes) -> None:
    """A connection that sends no whole request ends."""
    began = time.monotonic()
    got = exchange(sent, PATIENCE_S)
    assert got.startswith(starts)
    assert bool(got) is bool(starts)
    assert time.monotonic() - began > PATIENCE_S / 2
