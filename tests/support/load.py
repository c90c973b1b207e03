"""A load of calls at a given rate: `python -m tests.support.load PORT KEY RATE SECONDS`.

In a process of its own, so that it costs the server under test no more than a processor. Each request
has a connection of its own, as from nginx by default. It prints one JSON list: for each request when it
was sent, in seconds from the beginning, its status (0: none), and the seconds that it took.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Sent:
    """One request: when it was sent, what became of it, and how long that took."""

    at_s: float
    status: int
    took_s: float


@dataclass(frozen=True)
class Load:
    """A load that runs, or ran."""

    process: subprocess.Popen[bytes]

    @classmethod
    def begin(cls, port: int, api_key: str, rate: float, seconds: float) -> Load:
        """Begin to send `rate` requests a second."""
        command = [sys.executable, "-m", "tests.support.load", str(port), api_key, str(rate), str(seconds)]
        return cls(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE))

    def wait(self) -> list[Sent]:
        """Return what became of the requests, when the last one has its answer."""
        told, _ = self.process.communicate()
        assert self.process.returncode == 0
        return [Sent(*one) for one in json.loads(told)]


def quantile(values: Iterable[float], share: float) -> float:
    """Return the value below which this share of the values lies; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


async def _ask(port: int, request: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        answer = await reader.read(65536)
        status = int(answer.split(None, 2)[1]) if answer else 0
        # Without the header it is not the answer that is promised.
        return 0 if status == 503 and b"\r\nRetry-After: " not in answer else status
    finally:
        writer.close()


async def _send(port: int, api_key: str, rate: float, seconds: float) -> list[tuple[float, int, float]]:
    body = json.dumps({"assistant_id": "helper", "metadata": {"customer": {"name": "Ada"}}})
    head = (
        f"POST /web_call/get_token HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {api_key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    request = (head + body).encode()
    told: list[tuple[float, int, float]] = []
    began = time.monotonic()

    async def one() -> None:
        sent = time.monotonic()
        try:
            status = await asyncio.wait_for(_ask(port, request), PATIENCE_S)
        except (OSError, TimeoutError) as error:
            print(f"no answer: {error!r}", file=sys.stderr)
            status = 0
        told.append((round(sent - began, 4), status, round(time.monotonic() - sent, 4)))

    running: set[asyncio.Task[None]] = set()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        running.add(task := asyncio.create_task(one()))
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return told


if __name__ == "__main__":
    # Behind a server that stalls many connections are open at once.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, api_key, rate, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(_send(int(port), api_key, float(rate), float(seconds)))))
