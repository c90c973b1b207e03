"""What callers wait for, asked of LiveKit by their own threads: within one time, and repeated once.

livekit-api's messages, tokens and errors over connections of our own, since its client is asynchronous.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from google.protobuf.message import Message
from livekit import api

from webcall.config.settings import LiveKitConfig
from webcall.core.answer_headers import new_request_id
from webcall.core.counters import version
from webcall.core.http_connection import Broken
from webcall.core.livekit_connections import Connections
from webcall.core.livekit_faults import asked_before, explain
from webcall.core.livekit_nodes import create_where_a_node_lives, newcomers_in
from webcall.core.server_clock import ServerClock
from webcall.errors import LiveKitError
from webcall.loop_thread import LoopThread

T = TypeVar("T")
M = TypeVar("M", bound=Message)

# A token for what is not about one room is used again for so long, by this machine's clock: whoever sets
# that clock gets another token. It lives for hours.
_SIGNED_FOR_S = 10.0


class Requests:
    """Asks one LiveKit server, and blocks the thread that asks until it answers, or for `livekit.timeout_s`.

    May be used in any thread but that of an event loop. Opens nothing before the first question.
    """

    def __init__(self, config: LiveKitConfig, clock: ServerClock, loop: LoopThread) -> None:
        """Take the settings, what is to hear the time of each answer, and the loop that opens connections."""
        self._config = config
        self._clock = clock
        self._connections = Connections(config.http_url, loop)
        parts = urlsplit(config.http_url)
        self._path = parts.path.rstrip("/")
        self._fixed = (
            f"Host: {parts.netloc.rpartition('@')[2]}\r\nUser-Agent: webcall/{version()}\r\n"
            "Content-Type: application/protobuf\r\n"
        )
        self._tokens: dict[str, tuple[float, str]] = {}

    def create_room(self, request: api.CreateRoomRequest) -> api.Room:
        """Create the room on a LiveKit node that lives. Raises `LiveKitError`."""

        def create(until: float) -> api.Room:
            return self._ask("CreateRoom", request, api.Room, self._create_token(), until)

        return self._bounded(lambda until: create_where_a_node_lives(create, until))

    def list_rooms(self, request: api.ListRoomsRequest) -> api.ListRoomsResponse:
        """List rooms. Raises `LiveKitError`."""
        return self._bounded(
            lambda until: self._ask("ListRooms", request, api.ListRoomsResponse, self._list_token(), until)
        )

    def has_newcomers(self, name: str) -> bool:
        """Return whether anybody but agents has joined the room lately. Raises `LiveKitError`."""
        asked = api.ListParticipantsRequest(room=name)

        def participants(until: float) -> api.ListParticipantsResponse:
            token = self._sign(api.VideoGrants(room_admin=True, room=name))
            return self._ask("ListParticipants", asked, api.ListParticipantsResponse, token, until)

        return self._bounded(lambda until: newcomers_in(lambda: participants(until), self._clock))

    def close(self) -> None:
        """Close the connections. A later question opens new ones."""
        self._connections.close()

    def _create_token(self) -> str:
        return self._signed("create", lambda: api.VideoGrants(room_create=True))

    def _list_token(self) -> str:
        return self._signed("list", lambda: api.VideoGrants(room_list=True))

    def _signed(self, what: str, grants: Callable[[], api.VideoGrants]) -> str:
        now = time.time()
        signed_at, token = self._tokens.get(what, (0.0, ""))
        if not 0 <= now - signed_at < _SIGNED_FOR_S:
            token = self._sign(grants())
            self._tokens[what] = now, token
        return token

    def _sign(self, grants: api.VideoGrants) -> str:
        return api.AccessToken(self._config.api_key, self._config.api_secret).with_grants(grants).to_jwt()

    def _bounded(self, call: Callable[[float], T]) -> T:
        """Return what `call` returns, asked again once if the connection broke, all by one moment.

        It has to be a request that may come twice: CreateRoom on a room that exists changes nothing.
        """
        until = time.monotonic() + self._config.timeout_s
        try:
            try:
                return call(until)
            except Broken as broken:
                with asked_before(broken):
                    return call(until)
        except TimeoutError:
            raise LiveKitError("timeout", f"no answer within {self._config.timeout_s:g} s") from None
        except Exception as error:
            raise explain(error, self._clock.ahead_s) from error

    def _ask(self, method: str, message: Message, kind: type[M], token: str, until: float) -> M:
        """Ask over Twirp (https://twitchtv.github.io/twirp/docs/spec_v7.html)."""
        body = message.SerializeToString()
        head = (
            f"POST {self._path}/twirp/livekit.RoomService/{method} HTTP/1.1\r\n{self._fixed}"
            f"Authorization: Bearer {token}\r\nX-Livekit-Request-Id: {new_request_id()}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        answer = self._connections.exchange(head.encode("ascii") + body, until)
        if answer.date:
            self._clock.hear(answer.date)
        if answer.status == 200:
            return kind.FromString(answer.body)
        raise _error(answer.status, answer.body)


def _error(status: int, body: bytes) -> api.ServerError:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    code = told.get("code") if isinstance(told, dict) else None
    # Its text is not taken: it may quote the request.
    return api.ServerError(code if isinstance(code, str) else "unknown", "", status=status)
