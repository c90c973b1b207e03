"""The floor: what the task itself costs in Python, with nothing around it.

    BENCHMARK_PORT=8000 python -m benchmarks.peers.floor

Raw sockets and epoll in one thread: it looks the key up by its hash, reads the body, fills the text, signs
the two tokens by hand, and sends one prepared CreateRoom on a kept connection. No framework, no validation,
no errors: nobody could run it, and nobody in Python can be much cheaper.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import hmac
import json
import os
import secrets
import selectors
import socket
import time
from typing import Any
from urllib.parse import urlsplit

from livekit import api

from benchmarks.peers import common

DEPLOYMENT = common.Deployment.from_environment()
_SECRET = DEPLOYMENT.api_secret.encode()
_URL = urlsplit(DEPLOYMENT.livekit_url)


def _b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_HEADER = _b64(b'{"alg":"HS256","typ":"JWT"}') + b"."


def sign(claims: bytes) -> bytes:
    """Return a token (HS256) of these claims."""
    head = _HEADER + _b64(claims)
    return head + b"." + _b64(hmac.digest(_SECRET, head, "sha256"))


class Upstream:
    """A kept connection to LiveKit, with one request on it at a time."""

    def __init__(self) -> None:
        self.socket = socket.create_connection((_URL.hostname or "127.0.0.1", _URL.port or 80))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.read = b""
        self.caller: Caller | None = None
        self.answer = b""


class Caller:
    """A caller's connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.read = b""


class Server:
    """All of it."""

    def __init__(self, port: int) -> None:
        self._selector = selectors.EpollSelector()
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._selector.register(listener, selectors.EVENT_READ, listener)
        self._idle: collections.deque[Upstream] = collections.deque()

    def run(self) -> None:
        """Serve until the process is ended."""
        while True:
            for key, _ in self._selector.select():
                what: Any = key.data
                if isinstance(what, Caller):
                    self._from_caller(what)
                elif isinstance(what, Upstream):
                    self._from_livekit(what)
                else:
                    caller = Caller(what.accept()[0])
                    self._selector.register(caller.socket, selectors.EVENT_READ, caller)

    def _from_caller(self, caller: Caller) -> None:
        data = caller.socket.recv(65536)
        if not data:
            self._selector.unregister(caller.socket)
            caller.socket.close()
            return
        caller.read += data
        end = caller.read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = caller.read[:end]
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(caller.read) < end + 4 + length:
            return
        body, caller.read = caller.read[end + 4 : end + 4 + length], b""
        if not body:
            caller.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            return
        self._ask(caller, head, json.loads(body))

    def _ask(self, caller: Caller, head: bytes, asked: dict[str, Any]) -> None:
        at = head.lower().find(b"authorization: bearer ") + 22
        key = head[at : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else len(head)]
        owner = DEPLOYMENT.owners[hashlib.sha256(key.strip()).hexdigest()]
        assistant = DEPLOYMENT.assistants[asked["assistant_id"]]
        assert assistant["assistant_created_by_email"] == owner
        metadata = asked.get("metadata") or {}
        room, now = common.room_of(asked["assistant_id"]), int(time.time())
        token = sign(
            b'{"video":{"roomJoin":true,"room":"%b","canPublish":true,"canSubscribe":true,"canPublishData":'
            b'true,"canPublishSources":["microphone"]},"iss":"%b","sub":"caller-%b","nbf":%d,"exp":%d}'
            % (room.encode(), DEPLOYMENT.api_key.encode(), secrets.token_hex(16).encode(), now, now + 60)
        )
        service = sign(
            b'{"video":{"roomCreate":true},"iss":"%b","nbf":%d,"exp":%d}'
            % (DEPLOYMENT.api_key.encode(), now, now + 60)
        )
        dispatch = common.dispatch_of(assistant, room, metadata, bool(asked.get("text_only")))
        request = api.CreateRoomRequest(
            name=room,
            metadata=secrets.token_hex(16),
            empty_timeout=120,
            departure_timeout=20,
            max_participants=1,
            agents=[api.RoomAgentDispatch(agent_name=common.AGENT, metadata=dispatch)],
        ).SerializeToString()
        if self._idle:
            upstream = self._idle.popleft()
        else:
            upstream = Upstream()
            self._selector.register(upstream.socket, selectors.EVENT_READ, upstream)
        upstream.caller = caller
        body = (
            b'{"success":true,"message":"Token generated successfully","data":{"room_name":"%b","token":"%b",'
            b'"server_url":"%b","expires_at":"%b"}}'
            % (
                room.encode(),
                token,
                DEPLOYMENT.livekit_url.encode(),
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 60)).encode(),
            )
        )
        upstream.answer = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        upstream.socket.sendall(
            b"POST /twirp/livekit.RoomService/CreateRoom HTTP/1.1\r\nHost: livekit\r\n"
            b"Authorization: Bearer %b\r\nContent-Type: application/protobuf\r\nContent-Length: %d\r\n\r\n%b"
            % (service, len(request), request)
        )

    def _from_livekit(self, upstream: Upstream) -> None:
        upstream.read += upstream.socket.recv(65536)
        end = upstream.read.find(b"\r\n\r\n")
        if end < 0:
            return
        head = upstream.read[:end].lower()
        at = head.find(b"content-length:")
        if len(upstream.read) < end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0]):
            return
        assert upstream.read[9:12] == b"200"
        api.Room.FromString(upstream.read[end + 4 :])
        upstream.read = b""
        caller, upstream.caller = upstream.caller, None
        assert caller is not None
        caller.socket.sendall(upstream.answer)
        self._idle.append(upstream)


if __name__ == "__main__":
    Server(int(os.environ["BENCHMARK_PORT"])).run()
