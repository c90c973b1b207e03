"""People who join calls: they wait for the greeting, count the assistants in their room, and hang up."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from livekit import rtc

from benchmarks.soak.asking import CALL, FILES, Asking, body
from benchmarks.soak.records import WORKER
from tests.support.calls import PlacedCall, assistants_listed
from tests.support.person import Person, joined

KIND = "person"
GREETED_S = 20.0
# Where the assistant has to be sent again: the watcher's grace time, its sweep, and an assistant's start.
MENDED_S = 60.0
GONE_S = 15.0
# From LiveKit's answer on, the worker connects anew by itself, with growing pauses.
AGENTS = "agents"


@dataclass
class Seen:
    """What became of the people."""

    joined: int = 0
    greeted: int = 0
    heard: int = 0
    mended: int = 0
    interrupted: int = 0
    assistants: Counter[int] = field(default_factory=Counter)
    greeting_s: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the figures, for a file."""
        return {
            "joined": self.joined,
            "greeted": self.greeted,
            "heard": self.heard,
            "mended": self.mended,
            "interrupted": self.interrupted,
            "assistants_per_person": {str(count): of for count, of in sorted(self.assistants.items())},
            "greeting_s_median": round(statistics.median(self.greeting_s), 2) if self.greeting_s else None,
            "greeting_s_worst": round(max(self.greeting_s), 2) if self.greeting_s else None,
        }


class People:
    """Sends people into calls, and keeps what they saw."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._oracle = asking.oracle
        self.seen = Seen()
        self.rooms: dict[str, Person] = {}
        """Who is in which room now."""

    async def visit(self, *, text_only: bool, stays: asyncio.Event | None = None) -> None:
        """Place a call, join it, wait for the greeting, and hang up; with `stays`, not before it is set."""
        began = self._oracle.clock()
        answer = await self._asking.ask(
            KIND,
            CALL,
            key=self._asking.records.steady,
            body=body("reception", text_only=text_only),
            right={200},
            needs=FILES,
        )
        if answer is None:
            return
        call = PlacedCall(answer.data["room_name"], answer.data["token"], answer.data["server_url"])
        try:
            await asyncio.wait_for(self._talk(call, began, text_only, stays), GREETED_S + 3 * MENDED_S)
        except (TimeoutError, AssertionError, rtc.ConnectError) as error:
            if self._interrupted(began):
                self.seen.interrupted += 1
            else:
                told = f"{type(error).__name__} in {call.room_name}: {error!s:.100}"
                self._oracle.fault(KIND, told, since=began)

    async def _talk(
        self, call: PlacedCall, began: float, text_only: bool, stays: asyncio.Event | None
    ) -> None:
        async with joined(call) as person:
            self.seen.joined += 1
            self.rooms[call.room_name] = person
            try:
                at_door = self._oracle.clock()
                unserved = await self._greeting(person, began)
                self.seen.greeted += 1
                if not unserved:
                    self.seen.greeting_s.append(self._oracle.clock() - at_door)
                if not text_only:
                    await person.until(lambda: person.loud_frames, GREETED_S)
                    self.seen.heard += 1
                await self._count(call, began)
                if stays is not None:
                    await stays.wait()
                    await self._count(call, began)
            finally:
                del self.rooms[call.room_name]
        await self._until_gone(call, began)

    async def _greeting(self, person: Person, began: float) -> bool:
        """Wait for the greeting; return whether it took another assistant, or a worker that came back."""

        def greeted() -> bool:
            return person.disconnected.is_set() or "Ada" in " ".join(person.words())

        unserved = False
        try:
            await person.until(greeted, GREETED_S)
        except AssertionError:
            while self._oracle.down([AGENTS], began, self._oracle.clock(), settling_s=MENDED_S):
                unserved = True
                with contextlib.suppress(AssertionError):
                    await person.until(greeted, 1)
                    break
            else:
                raise
        if person.disconnected.is_set():
            raise AssertionError(f"put out of the room before the greeting: {person.disconnect_reason}")
        return unserved

    async def _count(self, call: PlacedCall, began: float) -> None:
        count = len(await self.assistants_in(call.room_name))
        if self._interrupted(began):
            return
        self.seen.assistants[count] += 1
        if count != 1:
            self._oracle.fault(KIND, f"{count} assistants in {call.room_name}")

    async def assistants_in(self, room: str) -> list[str]:
        """Return the identities of the assistants in a room."""
        with contextlib.suppress(Exception):
            return await asyncio.wait_for(assistants_listed(self._asking.livekit, room), 10)
        return []

    async def _until_gone(self, call: PlacedCall, began: float) -> None:
        until = self._oracle.clock() + GONE_S
        while self._oracle.clock() < until:
            with contextlib.suppress(Exception):
                if not await self._asking.living(call.room_name):
                    return
            await asyncio.sleep(0.5)
        if not self._interrupted(began):
            told = f"{call.room_name} is open {GONE_S:.0f} s after its person left"
            self._oracle.fault(KIND, told, since=until - GONE_S)

    def _interrupted(self, began: float) -> bool:
        # The room of a call goes with its LiveKit.
        return self._oracle.down(["livekit"], began, self._oracle.clock())


__all__ = ["AGENTS", "WORKER", "People", "Seen"]
