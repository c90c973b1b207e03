"""Sends requests, has each answer judged, and looks whether a call that was placed is there."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from livekit import api

from benchmarks.soak.oracle import Asked, Oracle, Outcome
from benchmarks.soak.records import CANARY
from benchmarks.soak.stage import Stage

CALL, SOURCE, LISTING = "/web_call/get_token", "/web_call/token_source", "/web_call/assistants"
FILES, BOTH = frozenset({"livekit"}), frozenset({"livekit", "mongo"})
"""What a call needs whose key and assistant are in files; and one of which either is not."""

PATIENCE_S = 20.0
DATA = {"room_name", "token", "server_url", "expires_at"}
METADATA = {"customer": {"name": "Ada"}, "note": f"{CANARY}note"}
PLAIN = ("/metrics", "/openapi.json", "/docs", "/playground", "/widget")


def body(assistant: str = "desk", **more: Any) -> dict[str, Any]:
    """Return the body of a call."""
    return {"assistant_id": assistant, "metadata": METADATA, **more}


class Answer:
    """An answer that was right."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, sent: float) -> None:
        self.status, self.headers, self.body, self.sent = status, headers, body, sent

    @property
    def data(self) -> Any:
        """What the envelope holds."""
        return json.loads(self.body)["data"]


class Asking:
    """A client of the service that knows what is right."""

    def __init__(self, stage: Stage, oracle: Oracle, random_: random.Random) -> None:
        self.stage, self.oracle, self.random = stage, oracle, random_
        self.records = stage.records
        self.rooms_checked = 0
        self.tokens_checked = 0

    async def __aenter__(self) -> Asking:
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        # A connection for each call, so that both processes get some; reads keep theirs, as browsers do.
        fresh = aiohttp.TCPConnector(limit=0, force_close=True)
        self._fresh = aiohttp.ClientSession(connector=fresh, timeout=timeout)
        self._kept = aiohttp.ClientSession(timeout=timeout)
        livekit = self.stage.livekit
        self.livekit = api.LiveKitAPI(livekit.http_url, livekit.key, livekit.secret, session=self._fresh)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._fresh.close()
        await self._kept.close()

    async def ask(
        self,
        kind: str,
        path: str,
        *,
        right: Iterable[Outcome],
        key: str | None = None,
        body: Any = None,
        needs: Iterable[str] = (),
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Answer | None:
        """Send a request; return its answer if that is one of `right`, else None: it has been judged.

        A body that is not bytes goes as JSON. Whoever has no key comes from an address of their own.
        """
        sent_headers = {"X-Forwarded-For": self.somewhere(), **(headers or {})}
        if key is not None:
            sent_headers["Authorization"] = f"Bearer {key}"
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if raw is not None:
            sent_headers.setdefault("Content-Type", "application/json")
        session = self._kept if method == "GET" else self._fresh
        sent = self.oracle.clock()
        outcome: Outcome
        answer, words = None, ""
        try:
            async with session.request(
                method, self.stage.service.url + path, data=raw, headers=sent_headers, allow_redirects=False
            ) as response:
                text = await response.read()
                outcome = response.status
                answer = Answer(response.status, response.headers, text, sent)
        except TimeoutError:
            outcome = "late"
        except aiohttp.ClientError as error:
            outcome, words = "broken", type(error).__name__
        done = self.oracle.clock()
        if answer is not None:
            words = self._look_at(kind, path, answer)
        asked = Asked(kind, frozenset(right), frozenset(needs), sent, done, outcome, words)
        return answer if self.oracle.judge(asked) else None

    def somewhere(self) -> str:
        """Return an address that nobody else has."""
        return ".".join(["10", *(str(self.random.randrange(256)) for _ in range(3))])

    def _look_at(self, kind: str, path: str, answer: Answer) -> str:
        """Check what every answer has; return its words."""
        if "X-Request-ID" not in answer.headers:
            self.oracle.fault(kind, "an answer without X-Request-ID")
        if answer.status == 304 or path.startswith(PLAIN) or not answer.body:
            return ""
        try:
            told = json.loads(answer.body)
            if answer.status != 201 and path != "/nowhere.json":
                assert set(told) == {"success", "message", "data"}
                assert told["success"] is (answer.status < 400)
        except (ValueError, AssertionError, TypeError):
            self.oracle.fault(kind, f"an answer {answer.status} outside of the envelope")
            return ""
        return str(told.get("message", ""))[:120]

    async def check_call(self, kind: str, answer: Answer, agent: str) -> None:
        """Look whether an answer's room is there, with its one dispatch, and takes the answer's token."""
        if answer.status == 200 and set(answer.data) != DATA:
            self.oracle.fault(kind, "a 200 with other data")
        told = json.loads(answer.body)
        room, token = (
            (told["room_name"], told["participant_token"])
            if answer.status == 201
            else (told["data"]["room_name"], told["data"]["token"])
        )
        try:
            dispatches = await self.livekit.agent_dispatch.list_dispatch(room)
            address = f"{self.stage.livekit.http_url}/rtc/validate"
            async with self._fresh.get(address, params={"access_token": token}) as validated:
                status = validated.status
        except (aiohttp.ClientError, api.ServerError, TimeoutError) as error:
            if not self.oracle.down(["livekit"], answer.sent, self.oracle.clock()):
                told = f"the room of a {answer.status} cannot be read: {error!r:.120}"
                self.oracle.fault(kind, told, since=answer.sent)
            return
        if self.oracle.down(["livekit"], answer.sent, self.oracle.clock()):
            return
        self.rooms_checked += 1
        self.tokens_checked += 1
        if status != 200:
            self.oracle.fault(kind, f"a token that its room does not take: {status}")
        if [one.agent_name for one in dispatches] != [agent]:
            self.oracle.fault(kind, f"{len(dispatches)} dispatches in a new room")

    async def living(self, prefix: str = "") -> list[str]:
        """Return the names of the rooms that live and begin so."""
        found = await asyncio.wait_for(self.livekit.room.list_rooms(api.ListRoomsRequest()), PATIENCE_S)
        return [room.name for room in found.rooms if room.name.startswith(prefix)]
