"""Workers killed at random under many calls: does every person end with exactly one assistant?

    python -m benchmarks.watch_storm [--calls 200] [--workers 10] [--wave 25] [--kills 3] [--seed 1]

On a LiveKit server of its own, with workers without models (`tests/support/light_agent.py`), which start,
with `--late`, when the first people have joined. The calls come in waves. While a wave's people join and sit
in their rooms, workers are killed with SIGKILL, at random moments and several at once, and started again. Two
watchers look after the calls, agreeing by Redis where there is one; one of them is killed and started again
too, and LiveKit sends each event twice to each, or none with `--no-events`. A wave is over when LiveKit's
list of participants shows exactly one assistant beside each person, past the time for which it shows one
that was killed, and goes on showing that. Ends with status 0 if that is so for all calls, and 1 if not. Then
it prints what became of the others; `--logs` is a folder that keeps all logs.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from livekit import api

from benchmarks.storm_outcome import Outcome, story
from scripts import livekit_server
from tests.support.calls import PlacedCall, place_call
from tests.support.livekit import LiveKitServer
from tests.support.person import Person, joined
from tests.support.programs import free_port
from tests.support.redis import RedisServer
from tests.support.watch import Program, Watching, light_worker, watcher_for
from webcall.core.watch.serving import WEBHOOK

AGENT = "storm"
# LiveKit holds on to an assistant that was killed for about 21 s.
UNNOTICED_S = 22.0
# How long one assistant has to stay the only one.
SETTLED_S = 3.0
_AGENT, _ACTIVE = api.ParticipantInfo.Kind.AGENT, api.ParticipantInfo.State.ACTIVE


@dataclass
class Seat:
    """One person's call, as LiveKit's list of participants shows it."""

    call: PlacedCall
    person: Person
    since: float
    alone_since: float | None
    assistants: frozenset[str] = frozenset()
    doubled: bool = False


class Storm:
    """One run on one LiveKit."""

    def __init__(
        self,
        server: LiveKitServer,
        workers: Sequence[Program],
        watchers: Sequence[Watching],
        seed: int,
        folder: Path,
    ) -> None:
        self._folder = folder
        self._server = server
        self._workers = workers
        self._watchers = watchers
        self._random = random.Random(seed)
        self.outcome = Outcome()

    async def wave(self, calls: int, kills: int, *, kill_watcher: bool, within_s: float) -> None:
        """Place calls, kill workers meanwhile, wait until all is well again, and hang up."""
        killing: asyncio.Task[None] | None = None
        if self._working:
            # From the moment on in which the calls are placed.
            killing = asyncio.create_task(self._kill(kills, kill_watcher=kill_watcher))
        async with AsyncExitStack() as stack:
            placed = await asyncio.gather(
                *(asyncio.to_thread(place_call, self._server, agent_name=AGENT) for _ in range(calls))
            )
            people = await asyncio.gather(*(stack.enter_async_context(joined(call)) for call in placed))
            now = time.monotonic()
            seats = [Seat(call, person, now, now) for call, person in zip(placed, people, strict=True)]
            async with self._server.api() as livekit:
                looking = asyncio.create_task(self._look(livekit, seats))
                if killing is None:
                    await self._begin_work(seats)
                    killing = asyncio.create_task(self._kill(kills, kill_watcher=kill_watcher))
                await killing
                # Until here the list still shows those that were killed.
                await asyncio.sleep(UNNOTICED_S)
                await self._settled(seats, within_s)
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
                await self._count(livekit, seats)
                # People who are away are waited for: the next wave would share the machine with their rooms.
                for seat in seats:
                    with suppress(api.ServerError):
                        await livekit.room.delete_room(api.DeleteRoomRequest(room=seat.call.room_name))

    @property
    def _working(self) -> bool:
        return all(worker.process is not None for worker in self._workers)

    async def _begin_work(self, seats: Sequence[Seat]) -> None:
        """Start the workers, for people who sit there already, and wait for the first assistant."""
        for worker in self._workers:
            worker.begin()
        while not any(seat.assistants for seat in seats):
            await asyncio.sleep(0.1)

    async def _kill(self, kills: int, *, kill_watcher: bool) -> None:
        watcher = self._random.choice(self._watchers)
        for _ in range(kills):
            await asyncio.sleep(self._random.uniform(0, 2))
            several = self._random.sample(
                self._workers, k=self._random.randint(1, max(1, len(self._workers) // 3))
            )
            for worker in several:
                await asyncio.to_thread(worker.kill)
            self.outcome.killed += len(several)
            if kill_watcher:
                await asyncio.to_thread(watcher.kill)
            await asyncio.sleep(self._random.uniform(0, 1))
            for worker in several:
                worker.begin()
            if kill_watcher:
                await asyncio.to_thread(watcher.start, 240)
                self.outcome.watchers_killed += 1
                kill_watcher = False

    async def _look(self, livekit: api.LiveKitAPI, seats: Sequence[Seat]) -> None:
        while True:
            await asyncio.gather(*(self._look_at(livekit, seat) for seat in seats))
            await asyncio.sleep(0.25)

    async def _look_at(self, livekit: api.LiveKitAPI, seat: Seat) -> None:
        asked = api.ListParticipantsRequest(room=seat.call.room_name)
        try:
            there = await livekit.room.list_participants(asked)
        except (api.ServerError, aiohttp.ClientError):
            # A busy machine; the next look tells.
            return
        found = frozenset(
            one.identity for one in there.participants if one.kind == _AGENT and one.state == _ACTIVE
        )
        now = time.monotonic()
        if found != seat.assistants:
            seat.assistants, seat.since = found, now
        seat.doubled |= len(found) > 1
        if not found and seat.alone_since is None:
            seat.alone_since = now
        elif found and seat.alone_since is not None:
            self.outcome.alone_s.append(now - seat.alone_since)
            seat.alone_since = None

    async def _settled(self, seats: Sequence[Seat], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            now = time.monotonic()
            if all(len(seat.assistants) == 1 and now - seat.since > SETTLED_S for seat in seats):
                return
            await asyncio.sleep(0.25)

    async def _count(self, livekit: api.LiveKitAPI, seats: Sequence[Seat]) -> None:
        outcome = self.outcome
        outcome.people += len(seats)
        outcome.with_one += sum(len(seat.assistants) == 1 for seat in seats)
        outcome.with_none += sum(not seat.assistants for seat in seats)
        outcome.with_more += sum(len(seat.assistants) > 1 for seat in seats)
        outcome.doubled_at_some_time += sum(seat.doubled for seat in seats)
        for seat in seats:
            if len(seat.assistants) != 1:
                outcome.stories += await story(livekit, seat.call.room_name, seat.person, self._folder)
            if seat.assistants:
                outcome.sent_again += len(await livekit.agent_dispatch.list_dispatch(seat.call.room_name)) - 1


def storm(
    *,
    calls: int,
    workers: int,
    wave: int,
    kills: int,
    seed: int,
    events: bool = True,
    late: bool = False,
    within_s: float = 120,
    logs: Path | None = None,
    say: Callable[[str], object] = lambda _: None,
    **rules: Any,
) -> Outcome:
    """Run it: `calls` in waves of `wave`, `kills` times some of `workers` killed in each.

    With `late` the workers start when the first wave's people have joined.
    With `events` LiveKit tells the watchers what happens, each event twice, else nothing.
    `logs` is a folder that keeps the programs' logs. `rules` are settings of `watch`. Two watchers share a
    Redis where `redis-server` is there, else one works.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="webcall-storm-")))
        folder.mkdir(parents=True, exist_ok=True)
        ports = [free_port(), free_port()]
        uri = _redis(stack, folder)
        if uri == "memory://":
            del ports[1:]
        hooks = [f"http://127.0.0.1:{port}{WEBHOOK}" for port in ports]
        server = LiveKitServer(livekit_server.ensure(), folder, [*hooks, *hooks] if events else [])
        stack.callback(server.stop)
        server.start()
        watchers = [watcher_for(server, folder, port, storage_uri=uri, **rules) for port in ports]
        agents = [light_worker(server, folder, AGENT) for _ in range(workers)]
        for program in (*watchers, *agents):
            stack.callback(program.kill)
        for watcher in watchers:
            watcher.begin()
        for watcher in watchers:
            watcher.until_log('"watching"', within_s=120)
        for agent in () if late else agents:
            agent.begin()
        for agent in () if late else agents:
            agent.until_log("worker registered", within_s=240)
        say(f"{len(watchers)} watchers are ready, for {workers} workers")
        run = Storm(server, agents, watchers, seed, folder)
        left, number = calls, 0
        while left > 0:
            size, number = min(wave, left), number + 1
            asyncio.run(run.wave(size, kills, kill_watcher=True, within_s=within_s))
            left -= size
            say(f"wave {number}: {run.outcome.with_one} of {run.outcome.people} have exactly one")
        run.outcome.seconds = time.monotonic() - began
        return run.outcome


def _redis(stack: ExitStack, folder: Path) -> str:
    if shutil.which("redis-server") is None:
        return "memory://"
    server = RedisServer(folder)
    stack.callback(server.stop)
    server.start()
    return server.uri


def main() -> int:
    """Run it with the command line's numbers, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("calls", 200), ("workers", 10), ("wave", 25), ("kills", 3), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-events", dest="events", action="store_false")
    parser.add_argument("--late", action="store_true")
    parser.add_argument("--logs", type=Path, help="a folder that keeps all logs")
    given = parser.parse_args()
    # So that what runs is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    outcome = storm(
        **vars(given),
        say=lambda line: print(line, file=sys.stderr, flush=True),
        sweep_s=2.0,
        grace_s=3.0,
        tries=6,
    )
    print(*outcome.lines(), sep="\n")
    print(
        "everybody has exactly one assistant" if outcome.good else "NOT everybody has exactly one assistant"
    )
    return 0 if outcome.good else 1


if __name__ == "__main__":
    raise SystemExit(main())
