"""A scriptable stand-in for LiveKit's HTTP API: counts what reaches it, and fails on demand."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from livekit.protocol.models import Room
from livekit.protocol.room import CreateRoomRequest, DeleteRoomRequest, ListRoomsRequest, ListRoomsResponse

from tests.support.listeners import stop_listening

Script = Callable[["Exchange"], None]


class Exchange:
    """One request as it came over one connection, and the means to answer it."""

    def __init__(
        self, connection: socket.socket, stream: Any, method: str, body: bytes, server: FakeLiveKit
    ) -> None:
        self.connection = connection
        self._stream = stream
        self.method = method
        self.body = body
        self.server = server

    def answer(self, body: bytes = b"", status: str = "200 OK", kind: str = "application/protobuf") -> None:
        """Send a whole answer."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        if self.server.ahead_s is not None:
            head += f"Date: {formatdate(time.time() + self.server.ahead_s, usegmt=True)}\r\n"
        self.connection.sendall(head.encode() + b"\r\n" + body)

    def serve(self) -> None:
        """Answer as LiveKit does."""
        if self.method == "CreateRoom":
            asked = CreateRoomRequest.FromString(self.body)
            metadata = self.server.rooms.setdefault(asked.name, asked.metadata)
            self.answer(Room(name=asked.name, metadata=metadata).SerializeToString())
        elif self.method == "ListRooms":
            names = ListRoomsRequest.FromString(self.body).names
            rooms = [Room(name=n, metadata=self.server.rooms[n]) for n in names if n in self.server.rooms]
            self.answer(ListRoomsResponse(rooms=rooms).SerializeToString())
        elif self.method == "DeleteRoom":
            self.server.rooms.pop(DeleteRoomRequest.FromString(self.body).room, None)
            self.answer()
            self.server.deleted.set()

    def make_room_in_silence(self) -> None:
        """Create the room and never say so."""
        asked = CreateRoomRequest.FromString(self.body)
        self.server.rooms[asked.name] = asked.metadata

    def reset(self) -> None:
        """Break the connection off with a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The stream holds the descriptor open until it is closed as well.
        self._stream.close()
        self.connection.close()


class FakeLiveKit:
    """Listens on a free loopback port. `script` decides on each request; by default all is well."""

    def __init__(self) -> None:
        self.script: Script = Exchange.serve
        self.requests: list[str] = []
        self.rooms: dict[str, str] = {}
        self.ahead_s: float | None = None
        """How far its clock is ahead; None: its answers do not tell the time."""
        self.deleted = threading.Event()
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"
        self.key, self.secret = "key", "s" * 32
        self._open: deque[socket.socket] = deque()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """The environment that names it as the service's LiveKit."""
        return {"LIVEKIT_URL": self.url, "LIVEKIT_API_KEY": self.key, "LIVEKIT_API_SECRET": self.secret}

    @property
    def kept(self) -> list[socket.socket]:
        """The connections that came and were not closed from here."""
        return list(self._open)

    def count(self, method: str) -> int:
        """How many requests of this method have come."""
        return self.requests.count(method)

    def hang_up(self) -> None:
        """Close every idle connection, as a server does that restarts."""
        # Taken out one by one: another may be accepted meanwhile.
        while self._open:
            connection = self._open.pop()
            # The thread that reads it holds the descriptor: closing alone would tell the client nothing.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def stop_listening(self) -> None:
        """Refuse new connections."""
        stop_listening(self._listener)

    def close(self) -> None:
        """Stop listening, and close what is open."""
        self._closed = True
        self.stop_listening()
        self.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            if self._closed:
                self.hang_up()
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        stream: Any = connection.makefile("rb")
        try:
            while line := stream.readline():
                method = line.decode().split()[1].rpartition("/")[2]
                length = 0
                while (header := stream.readline().strip()) != b"":
                    name, _, value = header.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                body = stream.read(length)
                self.requests.append(method)
                self.script(Exchange(connection, stream, method, body, self))
        except (OSError, ValueError):
            return


@pytest.fixture
def fake_livekit() -> Iterator[FakeLiveKit]:
    """A stand-in that answers as LiveKit does, until it is told otherwise."""
    server = FakeLiveKit()
    yield server
    server.close()
