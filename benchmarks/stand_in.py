"""A stand-in for LiveKit's HTTP API that answers in microseconds, or after a set delay.

    python -m benchmarks.stand_in --port 7990 [--delay-ms 50]

It echoes a room's name and metadata as LiveKit does, so that whoever compares them is content. It
checks no token and keeps no rooms: what is measured is the one who asks.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import cast

import uvloop
from google.protobuf import json_format
from google.protobuf.message import Message
from livekit.protocol.agent_dispatch import AgentDispatch, CreateAgentDispatchRequest
from livekit.protocol.models import Room
from livekit.protocol.room import CreateRoomRequest, ListRoomsResponse

_JSON = b"application/json"


class StandIn(asyncio.Protocol):
    """One kept-alive connection, one request after the other."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop has classes of its own

    def data_received(self, data: bytes) -> None:
        """Answer every request that has come whole."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._read) < end + 4 + length:
                return
            body, path = self._read[end + 4 : end + 4 + length], self._read[:end].split(b" ", 2)[1]
            self._read = self._read[end + 4 + length :]
            self._answer(path.rpartition(b"/")[2], body, in_json=_JSON in head)

    def _answer(self, method: bytes, body: bytes, *, in_json: bool) -> None:
        answer = reply(method, body, in_json=in_json)
        kind = _JSON if in_json else b"application/protobuf"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(answer))
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._send, head + answer)
        else:
            self._send(head + answer)

    def _send(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


def reply(method: bytes, body: bytes, *, in_json: bool) -> bytes:
    """Return the answer's body to a request of LiveKit's API, as protobuf or JSON."""
    if method == b"CreateRoom":
        asked = CreateRoomRequest()
        _parse(asked, body, in_json=in_json)
        room = Room(
            sid="RM_stand_in",
            name=asked.name,
            metadata=asked.metadata,
            empty_timeout=asked.empty_timeout,
            departure_timeout=asked.departure_timeout,
            max_participants=asked.max_participants,
            creation_time=int(time.time()),
            creation_time_ms=int(time.time() * 1000),
        )
        return _write(room, in_json=in_json)
    if method == b"CreateDispatch":
        wanted = CreateAgentDispatchRequest()
        _parse(wanted, body, in_json=in_json)
        dispatch = AgentDispatch(id="AD_stand_in", agent_name=wanted.agent_name, room=wanted.room)
        return _write(dispatch, in_json=in_json)
    return _write(ListRoomsResponse(), in_json=in_json)


def _parse(message: Message, body: bytes, *, in_json: bool) -> None:
    # LiveKit's SDK for Node speaks JSON, the others protobuf.
    if in_json:
        json_format.Parse(body, message, ignore_unknown_fields=True)
    else:
        message.ParseFromString(body)


def _write(message: Message, *, in_json: bool) -> bytes:
    if in_json:
        return json_format.MessageToJson(message, indent=None).encode()
    return message.SerializeToString()


async def _serve(port: int, delay_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: StandIn(delay_s), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


def main() -> None:
    """Serve until the process is ended."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--delay-ms", type=float, default=0)
    given = options.parse_args()
    uvloop.run(_serve(given.port, given.delay_ms / 1000))


if __name__ == "__main__":
    main()
