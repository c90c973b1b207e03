"""Requests over real sockets, and threads that send them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

CALL = "/web_call/get_token"
JSON = {"Content-Type": "application/json"}


class Answer:
    """An answer as it came over the wire."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        """The body, which has to be JSON."""
        return json.loads(self.body)


def send(
    port: int,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    path: str = CALL,
) -> Answer:
    """Send one request to a loopback port and return its answer. A body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, raw, dict(headers or {}))
        return Answer(connection.getresponse())
    finally:
        connection.close()


def get(port: int, path: str) -> Answer:
    """Send a GET request."""
    return send(port, method="GET", path=path)


def at_once(count: int, do: Callable[[int], T]) -> list[T]:
    """Run `do(0)` to `do(count - 1)` in threads of their own, all at once."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(do, range(count)))
