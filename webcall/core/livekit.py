"""All that is asked of LiveKit.

What callers wait for their own threads ask, over `webcall.core.livekit_requests`. All else (pings, what is
asked in the background, the watcher's questions) goes through livekit-api's client, which is asynchronous, on
the one event loop of the process. Its own timeouts have no effect, so every exchange runs inside
`asyncio.wait_for`.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from livekit import api
from prometheus_client import Gauge

from webcall.config.settings import LiveKitConfig
from webcall.core.breaker import Breaker, ping_until_answered
from webcall.core.leftovers import Leftovers
from webcall.core.livekit_exchanges import Client, Exchanges
from webcall.core.livekit_faults import refusal
from webcall.core.livekit_requests import Requests
from webcall.core.server_clock import ServerClock
from webcall.core.tokens import mint
from webcall.errors import LiveKitError
from webcall.loop_thread import LoopThread

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NewRoom:
    """A room to be made, with the one assistant that is sent into it."""

    name: str
    metadata: str
    agent_name: str
    dispatch_metadata: str = field(repr=False)
    empty_timeout_s: int
    departure_timeout_s: int
    max_participants: int = 1
    # A repeat of the request asks for it again: without an answer it is not removed.
    repeatable: bool = False


@dataclass(frozen=True, slots=True)
class LiveRoom:
    """A room as LiveKit holds it; `people` leaves out agents, and lags by one to three seconds.

    `sid` is LiveKit's own id of it: another room of the same name has another one.
    """

    name: str
    metadata: str
    people: int
    sid: str = ""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a LiveKit server tells about itself."""

    makes_rooms_on_joining: bool
    clock_ahead_s: float


class LiveKit:
    """One LiveKit server, asked over kept connections.

    What callers wait for (`create_room`, `rooms`, `has_newcomers`) goes through a circuit breaker; what asks
    how LiveKit is does not.
    """

    def __init__(self, config: LiveKitConfig, away: Gauge | None = None) -> None:
        """Take the settings, and a gauge that is 1 while LiveKit is away. Opens no connection."""
        self._config = config
        self._breaker = Breaker(self._start_probing, away)
        self._loop = LoopThread("livekit")
        self._clock = ServerClock()
        self._requests = Requests(config, self._clock, self._loop)
        self._exchanges = Exchanges(config, self._clock)
        self._leftovers: tuple[asyncio.AbstractEventLoop, Leftovers] | None = None

    def create_room(self, room: NewRoom) -> LiveRoom:
        """Create the room with its dispatch in one request; return the room as LiveKit holds it.

        On a room that lives already LiveKit changes nothing and returns that room. One that a dead node has
        left behind it makes again on another node, with this request's metadata and the old `sid`; while
        it still believes in that node, it is asked again for as long as `timeout_s`. Raises `LiveKitError`;
        where the room may exist all the same and is not `repeatable`, it is removed in the background.
        """
        request = api.CreateRoomRequest(
            name=room.name,
            metadata=room.metadata,
            empty_timeout=room.empty_timeout_s,
            departure_timeout=room.departure_timeout_s,
            max_participants=room.max_participants,
            agents=[api.RoomAgentDispatch(agent_name=room.agent_name, metadata=room.dispatch_metadata)],
        )
        with self._breaker.guard():
            made = self._create(request, repeatable=room.repeatable)
        return _live(made)

    def rooms(self, names: Sequence[str]) -> dict[str, LiveRoom]:
        """Return those of these rooms that live, by name. Raises `LiveKitError`."""
        with self._breaker.guard():
            found = self._requests.list_rooms(api.ListRoomsRequest(names=names))
        return {room.name: _live(room) for room in found.rooms if room.name in names}

    def has_newcomers(self, name: str) -> bool:
        """Return whether anybody but agents has joined so lately that `LiveRoom.people` may not know it yet.

        Raises `LiveKitError`.
        """
        with self._breaker.guard():
            return self._requests.has_newcomers(name)

    def ping(self) -> str | None:
        """Return if LiveKit answers and accepts the API key; raise `LiveKitError` if not.

        Returns a reason if its clock is far off this machine's.
        """
        self._run(self._ping())
        if not self._clock.off:
            return None
        return f"its clock is {self._clock.ahead_s:+.0f} s off this machine's; tokens go by its clock"

    def now(self) -> datetime:
        """Return the time by which LiveKit judges tokens."""
        return self._clock.now()

    def hear_clock(self) -> None:
        """Have LiveKit tell its time, if it answers: `now` is not to wait for the first call.

        Its events, which are judged by `now`, may come before.
        """
        with contextlib.suppress(LiveKitError):
            self._run(self._ping())

    async def _ping(self) -> None:
        await self._exchanges.ask(lambda client: client.room.list_rooms(_ABSENT))

    def look_around(self) -> Surroundings:
        """Return what only a live server tells about itself, for `flask webcall check`.

        Raises `LiveKitError` as `ping` does; where LiveKit refuses the credentials, its message says
        whether the key, the secret or a clock is wrong.
        """
        # Before `ping`, which tells neither the server's clock nor what it has against the credentials.
        status, words, clock_ahead_s = self._run(self._exchanges.bounded(self._validate))
        if status == 401:
            raise LiveKitError("unauthorized", refusal(words, clock_ahead_s))
        self.ping()
        return Surroundings(makes_rooms_on_joining=status == 200, clock_ahead_s=clock_ahead_s)

    async def _validate(self, client: Client) -> tuple[int, bytes, float]:
        # LiveKit says of a token for a room that does not exist whether joining would make the room:
        # 200 where it would, 404 where `room.auto_create` is off.
        token = mint(
            api_key=self._config.api_key,
            api_secret=self._config.api_secret,
            room=f"webcall-check-{secrets.token_hex(8)}",
            identity="webcall-check",
            text_only=True,
            ttl=timedelta(seconds=30),
            now=datetime.now(UTC),
        )
        address = self._config.http_url.rstrip("/") + "/rtc/validate"
        async with client.session.get(address, params={"access_token": token.jwt}) as answer:
            # Only the beginning: LiveKit's text goes on with the token.
            return answer.status, await answer.content.read(16), self._clock.ahead_s

    def submit(self, call: Callable[[api.LiveKitAPI], Awaitable[T]]) -> Future[T]:
        """Ask LiveKit, bounded in time as everything here; the future holds the answer or `LiveKitError`.

        For `webcall.core.livekit_rooms`, and for whoever has an event loop of their own to wait in.
        """
        return self._loop.submit(self._exchanges.ask(call))

    def close(self) -> None:
        """Close the connections and end the event loop's thread. A later call starts anew."""
        self._exchanges.closing = True
        self._requests.close()
        try:
            if self._loop.running:
                with contextlib.suppress(Exception):
                    self._loop.submit(self._exchanges.close()).result(timeout=5)
            self._loop.close()
            self._breaker.reset()
        finally:
            self._exchanges.closing = False

    def _run(self, coroutine: Awaitable[T]) -> T:
        # The coroutine bounds itself; this second bound holds should the loop's thread be stuck.
        future = self._loop.submit(_plain(coroutine))
        try:
            return future.result(timeout=self._config.timeout_s + 0.5)
        except FutureTimeoutError:
            future.cancel()
            raise LiveKitError("timeout", f"no answer within {self._config.timeout_s:g} s") from None

    def _create(self, request: api.CreateRoomRequest, *, repeatable: bool) -> api.Room:
        try:
            made = self._requests.create_room(request)
            if made.name != request.name:
                raise LiveKitError("answer", "LiveKit's answer to CreateRoom is not about the room asked for")
            return made
        except LiveKitError as error:
            doubtful = error.kind in ("timeout", "broken", "answer") and not repeatable
            if doubtful and not self._exchanges.closing:
                self._loop.submit(self._look_for(request))
            raise

    def _start_probing(self, pause_s: float) -> None:
        if not self._exchanges.closing:
            self._loop.submit(self._probe(pause_s))

    async def _probe(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
        await ping_until_answered(self._ping)
        self._breaker.answered()

    async def _look_for(self, request: api.CreateRoomRequest) -> None:
        loop = asyncio.get_running_loop()
        if self._leftovers is None or self._leftovers[0] is not loop:
            self._leftovers = loop, Leftovers(self._exchanges.ask)
        self._leftovers[1].add(request.name, request.metadata)


_ABSENT = api.ListRoomsRequest(names=["webcall-ping"])


def _live(room: api.Room) -> LiveRoom:
    return LiveRoom(room.name, room.metadata, room.num_participants, room.sid)


async def _plain(awaitable: Awaitable[T]) -> T:
    return await awaitable
