"""What sends a benchmark's requests: how many, over which connections, and how many at the same time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest

from benchmarks.load import run

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers when as many wait as should, and counts who asks."""

    def __init__(self, at_once: int, requests: int, hang_up_after: int = 0) -> None:
        self.at_once = at_once
        self.left = requests
        self.hang_up_after = hang_up_after
        self.by_connection: Counter[asyncio.StreamWriter] = Counter()
        self.waiting: list[asyncio.StreamWriter] = []
        self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection's requests."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.by_connection[writer] += 1
                if self.by_connection[writer] == self.hang_up_after:
                    break
                self.waiting.append(writer)
                await self.answer()
        writer.close()

    async def answer(self) -> None:
        """Answer all who wait, unless more should come."""
        if len(self.waiting) < min(self.at_once, self.left):
            return
        for _ in range(20):
            # Who should not have come has come by then.
            await asyncio.sleep(0)
        self.most = max(self.most, len(self.waiting))
        waiting, self.waiting = self.waiting, []
        self.left -= len(waiting)
        for writer in waiting:
            writer.write(ANSWER)


async def sent_to(server: Server, connections: int) -> dict[str, object]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        return await asyncio.wait_for(run(port, REQUEST, server.left, connections, server.at_once), 30)


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_connections_take_turns(at_once: int) -> None:
    """Every connection asks as often as the others, and no more of them wait than may."""
    server = Server(at_once, 40)
    told = asyncio.run(sent_to(server, 8))
    assert told["statuses"] == {200: 40}
    assert list(server.by_connection.values()) == [5] * 8
    assert server.most == at_once


def test_who_is_hung_up_on_gives_the_turn_away() -> None:
    """A connection that the server closes counts what it had still to ask, and holds up nobody."""
    server = Server(1, 12, hang_up_after=2)
    told = asyncio.run(sent_to(server, 3))
    assert told["statuses"] == {200: 3, 0: 9}
