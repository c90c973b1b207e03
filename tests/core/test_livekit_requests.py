"""What is sent to LiveKit and read from it by request threads: tokens, and its clock."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from livekit import api

from tests.support.peer import Peer
from webcall.config import LiveKitConfig
from webcall.core import livekit_requests
from webcall.core.livekit_requests import Requests
from webcall.core.server_clock import ServerClock
from webcall.errors import LiveKitError
from webcall.loop_thread import LoopThread

RequestsTo = Callable[[Peer], Requests]


@pytest.fixture
def requests_to(connections_loop: LoopThread) -> Iterator[RequestsTo]:
    made: list[Requests] = []

    def make(peer: Peer) -> Requests:
        config = LiveKitConfig(f"ws://127.0.0.1:{peer.port}", "", "key", "s" * 32, "agent", 5.0)
        made.append(Requests(config, ServerClock(), connections_loop))
        return made[-1]

    yield make
    for requests in made:
        requests.close()


@pytest.mark.parametrize("ahead_s", [0, 29, -29, 600, -600])
@pytest.mark.parametrize(("joined_s_ago", "is_new"), [(3, True), (300, False)])
def test_newcomers_are_judged_by_livekits_clock(
    peer_of: Callable[..., Peer], requests_to: RequestsTo, ahead_s: int, joined_s_ago: int, is_new: bool
) -> None:
    """However far LiveKit's clock is off, who joined lately is a newcomer, and who did not is none."""

    def script(connection: socket.socket) -> None:
        while connection.recv(65536):
            told = api.ListParticipantsResponse()
            told.participants.add(identity="person", joined_at=int(time.time() + ahead_s - joined_s_ago))
            body = told.SerializeToString()
            date = formatdate(time.time() + ahead_s, usegmt=True)
            head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)

    requests = requests_to(peer_of(script))
    for _ in range(2):
        assert requests.has_newcomers("room") is is_new


@pytest.mark.parametrize("kind", ["AGENT", "EGRESS"])
def test_newcomers_are_people(peer_of: Callable[..., Peer], requests_to: RequestsTo, kind: str) -> None:
    """An assistant that has just come, or a recorder, is nobody who took up the call."""
    told = api.ListParticipantsResponse()
    told.participants.add(identity="x", joined_at=int(time.time()), kind=api.ParticipantInfo.Kind.Value(kind))
    peer = peer_of(answering("200 OK", told.SerializeToString()))
    assert requests_to(peer).has_newcomers("room") is False
    told.participants.add(identity="person", joined_at=int(time.time()))
    peer = peer_of(answering("200 OK", told.SerializeToString()))
    assert requests_to(peer).has_newcomers("room") is True


def test_a_room_that_has_closed_has_no_newcomers(
    peer_of: Callable[..., Peer], requests_to: RequestsTo
) -> None:
    """Nobody is in a room that is not there; any other failure is one."""
    gone = peer_of(answering("404 Not Found", b'{"code": "not_found"}'))
    assert requests_to(gone).has_newcomers("room") is False
    broken = peer_of(answering("500 Internal Server Error", b'{"code": "internal"}'))
    with pytest.raises(LiveKitError, match="500 internal"):
        requests_to(broken).has_newcomers("room")


def answering(status: str, body: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    return script


def test_a_token_is_used_for_a_while(
    peer_of: Callable[..., Peer], requests_to: RequestsTo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds long, and not after this machine's clock was set, whichever way."""
    used: list[str] = []

    def script(connection: socket.socket) -> None:
        while asked := connection.recv(65536):
            used.append(asked.split(b"Bearer ")[1].split()[0].decode())
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    signed: list[api.VideoGrants] = []

    def sign(_: Requests, grants: api.VideoGrants) -> str:
        signed.append(grants)
        return f"token-{len(signed)}"

    clock = SimpleNamespace(time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr(livekit_requests, "time", clock)
    monkeypatch.setattr(Requests, "_sign", sign)
    requests = requests_to(peer_of(script))
    began = 1_800_000_000.0
    for at in (began, began + 9, began + 11, began - 3600, began - 3595, began + 86_400):
        monkeypatch.setattr(clock, "time", lambda at=at: at)
        requests.list_rooms(api.ListRoomsRequest())
    assert used == ["token-1", "token-1", "token-2", "token-3", "token-3", "token-4"]
    assert all(grants.room_list for grants in signed)
