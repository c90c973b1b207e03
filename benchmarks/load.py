"""Sends requests over kept-alive connections, each after the other's answer, and tells how long they took.

    python -m benchmarks.load --port 8000 --requests 2000 --connections 16 [--at-once 16] < request

A process of its own, so that its CPU is nobody else's. The request, head and body, comes in by standard
input as it goes out; the answer is one JSON object: `took_ms`, `elapsed_s`, and the statuses by number.
With `--at-once` no more connections than that wait for an answer at the same time: they take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter, deque
from typing import cast

import uvloop


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(
        self,
        request: bytes,
        count: int,
        turns: deque[Client],
        took_ms: list[float],
        statuses: Counter[int],
    ) -> None:
        """Take how often to ask, and the queue of those who wait for their turn, in which this one gets."""
        self._request = request
        self._left = count
        self._turns = turns
        self._took_ms = took_ms
        self._statuses = statuses
        self._read = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first turn."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own
        self._turns.append(self)

    def data_received(self, data: bytes) -> None:
        """Take an answer, and give the turn to the next one, which may be this one again."""
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._read[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._read) < end + 4 + length:
            return
        self._took_ms.append((time.perf_counter() - self._began) * 1000)
        self._statuses[int(self._read[9:12])] += 1
        self._read = b""
        self._left -= 1
        if self._left:
            self._turns.append(self)
        else:
            self._finish()
        self._let_next()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell of a server that hung up in between."""
        if self._left:
            self._statuses[0] += self._left
            self._left = 0
            if self in self._turns:
                self._turns.remove(self)
            else:
                self._let_next()
        self._finish()

    def _let_next(self) -> None:
        if self._turns:
            self._turns.popleft().ask()

    def ask(self) -> None:
        """Send a request."""
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def _finish(self) -> None:
        if not self.done.done():
            self.done.set_result(None)
            self._transport.close()


async def run(port: int, request: bytes, requests: int, connections: int, at_once: int) -> dict[str, object]:
    """Send them, and return what `main` prints."""
    took_ms: list[float] = []
    statuses: Counter[int] = Counter()
    began = time.perf_counter()
    clients: list[Client] = []
    turns: deque[Client] = deque()
    loop = asyncio.get_running_loop()
    for number in range(connections):
        count = requests // connections + (number < requests % connections)
        if count:
            _, client = await loop.create_connection(
                lambda count=count: Client(request, count, turns, took_ms, statuses),  # type: ignore[misc]  # a default binds it
                "127.0.0.1",
                port,
            )
            clients.append(client)
            if len(clients) <= at_once:
                turns.popleft().ask()
    await asyncio.gather(*(client.done for client in clients))
    return {"took_ms": took_ms, "elapsed_s": time.perf_counter() - began, "statuses": statuses}


def main() -> None:
    """Send them all, and print what became of them."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--requests", type=int, required=True)
    options.add_argument("--connections", type=int, required=True)
    options.add_argument("--at-once", type=int, help="all of them, if left out")
    given = options.parse_args()
    request = sys.stdin.buffer.read()
    at_once = given.at_once or given.connections
    print(json.dumps(uvloop.run(run(given.port, request, given.requests, given.connections, at_once))))


if __name__ == "__main__":
    main()
