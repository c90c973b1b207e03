"""Answers that no good LiveKit and no good service gives."""

from __future__ import annotations

from collections.abc import Callable

from livekit.protocol.models import Room
from livekit.protocol.room import CreateRoomRequest

from tests.support.fake_livekit import Exchange

HTML = b"<html><body>bad gateway</body></html>"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n%s" % (len(HTML), HTML)
NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(HTML), HTML)

Script = Callable[[Exchange], None]


def twirp(status: str, code: str) -> Script:
    """Answer with an error in LiveKit's own form."""
    body = b'{"code": "%s", "msg": "canary-7f3a eyJhbGciOiJIUzI1NiJ9"}' % code.encode()
    return lambda exchange: exchange.answer(body, status, "application/json")


def plain(body: bytes, status: str = "200 OK", kind: str = "application/protobuf") -> Script:
    return lambda exchange: exchange.answer(body, status, kind)


def made_and_failed(exchange: Exchange) -> None:
    """Make the room, and say that it failed."""
    if exchange.method == "CreateRoom":
        exchange.make_room_in_silence()
    exchange.answer(b'{"code": "internal"}', "500 Internal Server Error", "application/json")


def half(exchange: Exchange) -> None:
    """Make the room, send half of the answer, and close."""
    if exchange.method == "CreateRoom":
        exchange.make_room_in_silence()
    exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/protobuf\r\n")
    exchange.connection.sendall(b"Content-Length: 400\r\n\r\nhalf of it")
    exchange.reset()


def of_another_room(exchange: Exchange) -> None:
    if exchange.method != "CreateRoom":
        exchange.answer(b"", "500 Internal Server Error")
        return
    metadata = CreateRoomRequest.FromString(exchange.body).metadata
    exchange.answer(Room(name="somebody-elses", metadata=metadata).SerializeToString())


OF_LIVEKIT: dict[str, tuple[Script, str]] = {
    "400": (twirp("400 Bad Request", "malformed"), "refused"),
    "401, another secret": (twirp("401 Unauthorized", "unauthenticated"), "unauthorized"),
    "403": (twirp("403 Forbidden", "permission_denied"), "unauthorized"),
    "404, not a LiveKit": (plain(b"404 page not found", "404 Not Found", "text/plain"), "(refused|answer)"),
    "429": (twirp("429 Too Many Requests", "resource_exhausted"), "refused"),
    "500": (twirp("500 Internal Server Error", "internal"), "answer"),
    "500, the room made": (made_and_failed, "answer"),
    "502, a proxy's page": (plain(HTML, "502 Bad Gateway", "text/html"), "answer"),
    "503": (twirp("503 Service Unavailable", "unavailable"), "answer"),
    "a redirect": (plain(b"", "302 Found\r\nLocation: http://127.0.0.1:1/", "text/html"), "."),
    "half an answer, the room made": (half, "broken"),
    "an answer about another room": (of_another_room, "answer"),
    "an empty answer": (plain(b""), "answer"),
    "a page": (plain(HTML, kind="text/html"), "answer"),
    "protobuf of another kind": (plain(b"\x0a\xff\xff\xff\xff\x0f"), "answer"),
    "an error of another form": (plain(b"[1, 2]", "500 Internal Server Error", "application/json"), "answer"),
    "garbage": (lambda exchange: exchange.connection.sendall(b"\0\1garbage\r\n\r\n"), "(answer|timeout)"),
}
