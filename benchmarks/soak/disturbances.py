"""What happens to the service while it is under load, one thing at a time, each announced to the oracle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable

import psutil

from benchmarks.soak.asking import CALL, FILES, LISTING, Asking, body
from benchmarks.soak.people import AGENTS, KIND, MENDED_S, People
from benchmarks.soak.records import NOBODY
from benchmarks.soak.stage import WORKERS

# "From the next request on", says docs/keys.md: a busy machine gets this much, and what counts at once is
# counted.
COUNTS_WITHIN_S = 1.0
OUTAGE_S = 4.0
RELOADED_S = 60.0
REGISTERED_S = 90.0


class Disturbances:
    """Disturbs the service; `at_once` counts the changes that the very next request knew, of all."""

    def __init__(self, asking: Asking, people: People) -> None:
        self._asking, self._people = asking, people
        self._oracle, self._stage, self._records = asking.oracle, asking.stage, asking.records
        self._edits = 0
        self.at_once = [0, 0]

    async def key_comes_and_goes(self) -> None:
        """A key is written into the file and counts; it is revoked there and stops to."""
        self._edits += 1
        self._oracle.note("a key added to the file")
        key = await asyncio.to_thread(self._records.add_key)
        await self._counts("added key", key, new=200, old=401)
        self._oracle.note("a key revoked in the file")
        await asyncio.to_thread(self._records.drop_key, key, keep_record=self._edits % 2 == 0)
        await self._counts("revoked key, just now", key, new=401, old=200)

    async def stored_key_comes_and_goes(self) -> None:
        """The same in MongoDB, where the very next request has to know."""
        self._oracle.note("a key added to MongoDB")
        key = await asyncio.to_thread(self._records.add_stored_key)
        await self._ask_listing("added key", key, {200})
        self._oracle.note("a key revoked in MongoDB")
        await asyncio.to_thread(self._records.revoke_stored_key, key)
        for _ in range(4):
            await self._ask_listing("revoked key, just now", key, {401})

    async def keys_broken(self) -> None:
        """The file of keys is broken for some seconds: its last good contents go on serving."""
        self._oracle.note("the file of keys broken")
        await self._broken(self._records.write_keys, "[{]")

    async def assistants_broken(self) -> None:
        """The file of assistants is broken for some seconds."""
        self._oracle.note("the file of assistants broken")
        await self._broken(self._records.write_assistants, '[{"assistant_id": 5}]')

    async def assistant_changes(self) -> None:
        """An assistant's prompt is changed, and it rests and comes back: calls follow."""
        self._edits += 1
        prompt = f"Version {self._edits} for {{{{customer.name}}}}."
        self._oracle.note("an assistant changed in the file")
        await asyncio.to_thread(self._records.set_assistant, "changing", assistant_prompt=prompt)
        await asyncio.sleep(COUNTS_WITHIN_S)
        answer = await self._call_changing(200)
        if answer is not None:
            await self._asking.check_call("changed assistant", answer, NOBODY)
            found = await self._asking.livekit.agent_dispatch.list_dispatch(answer.data["room_name"])
            sent = [json.loads(one.metadata)["web_call"]["assistant"] for one in found]
            if [one["assistant_prompt"] for one in sent] != [f"Version {self._edits} for Ada."]:
                self._oracle.fault("changed assistant", "a dispatch with another prompt than the file's")
        self._oracle.note("an assistant put to rest in the file")
        await asyncio.to_thread(self._records.set_assistant, "changing", assistant_is_active=False)
        await asyncio.sleep(COUNTS_WITHIN_S)
        await self._call_changing(404)
        await asyncio.to_thread(self._records.set_assistant, "changing", assistant_is_active=True)

    async def mongo_restarted(self) -> None:
        """MongoDB is gone for some seconds."""
        self._oracle.note("MongoDB restarted")
        with self._oracle.outage("mongo"):
            await asyncio.to_thread(self._stage.mongo.stop)
            await asyncio.sleep(OUTAGE_S)
            await asyncio.to_thread(self._stage.mongo.start)

    async def redis_restarted(self) -> None:
        """Redis is gone for some seconds, and comes back empty. No request may notice."""
        self._oracle.note("Redis restarted")
        with self._oracle.outage("redis"):
            await asyncio.to_thread(self._stage.redis.stop)
            await asyncio.sleep(OUTAGE_S)
            await asyncio.to_thread(self._stage.redis.start)

    async def livekit_restarted(self) -> None:
        """LiveKit is killed with its rooms, and comes back without them; the worker registers anew."""
        self._oracle.note("LiveKit restarted")
        worker = self._stage.worker
        before = worker.output().count("worker registered") if worker else 0
        with self._oracle.outage(AGENTS):
            with self._oracle.outage("livekit"):
                await asyncio.to_thread(self._stage.livekit.stop)
                await asyncio.sleep(OUTAGE_S)
                await asyncio.to_thread(self._stage.livekit.start)
            if worker:
                await asyncio.to_thread(worker.until_log, "worker registered", before + 1, REGISTERED_S)

    async def process_killed(self) -> None:
        """One of gunicorn's processes, the younger one, is killed; the master makes another."""
        self._oracle.note("a process of gunicorn's killed")
        victim = self._stage.gunicorn_workers()[-1]
        with self._oracle.outage("process"):
            victim.kill()
            await self._until(lambda: victim.pid not in self._pids() and len(self._pids()) == WORKERS)
            # What it had accepted may be noticed by its clients a moment later.
            await asyncio.sleep(0.5)

    async def reloaded(self) -> None:
        """SIGHUP: new processes with the settings as they are now, and no request lost."""
        self._oracle.note("SIGHUP")
        before = set(self._pids())
        self._stage.master.send_signal(signal.SIGHUP)
        await self._until(lambda: not before & set(self._pids()) and len(self._pids()) == WORKERS)

    async def call_killed(self) -> None:
        """The process of a call is killed under its person, who gets another assistant from the watcher."""
        worker = self._stage.worker
        if worker is None:
            return
        stays = asyncio.Event()
        visiting = asyncio.create_task(self._people.visit(text_only=True, stays=stays))
        try:
            await self._kill_call_of(visiting)
        finally:
            stays.set()
            await visiting

    async def worker_killed(self) -> None:
        """The whole worker is killed with its calls, and started again."""
        worker = self._stage.worker
        if worker is None or worker.process is None:
            return
        self._oracle.note("the worker killed")
        before = worker.output().count("worker registered")
        with self._oracle.outage(AGENTS):
            os.killpg(worker.process.pid, signal.SIGKILL)
            await asyncio.to_thread(worker.process.wait)
            await asyncio.to_thread(worker.begin)
            await asyncio.to_thread(worker.until_log, "worker registered", before + 1, REGISTERED_S)

    async def _kill_call_of(self, visiting: asyncio.Task[None]) -> None:
        worker = self._stage.worker
        assert worker is not None
        greeted = self._people.seen.greeted
        known = set(self._people.rooms)
        while self._people.seen.greeted == greeted and not visiting.done():
            await asyncio.sleep(0.1)
        rooms = [name for name in self._people.rooms if name not in known]
        lines = [line for room in rooms for line in worker.lines("call begins", room)]
        if visiting.done() or len(lines) != 1:
            return
        [room], pid = rooms, lines[0]["pid"]
        before = await self._people.assistants_in(room)
        self._oracle.note("the process of a call killed")
        with self._oracle.outage(AGENTS):
            psutil.Process(pid).kill()
            began = time.monotonic()
            while time.monotonic() - began < MENDED_S:
                now = await self._people.assistants_in(room)
                if now and not set(now) & set(before):
                    self._people.seen.mended += 1
                    return
                await asyncio.sleep(0.5)
        if not self._oracle.down(["livekit"], began, time.monotonic()):
            told = f"no other assistant in {room} {MENDED_S:.0f} s after the first one was killed"
            self._oracle.fault(KIND, told, since=began)

    async def _counts(self, kind: str, key: str, *, new: int, old: int) -> None:
        """See a change count: at once for most, for all after a moment, in every process."""
        began = time.monotonic()
        answer = await self._ask_listing(kind, key, {new, old})
        self.at_once[1] += 1
        if answer is not None and answer.status == new:
            self.at_once[0] += 1
        await asyncio.sleep(max(0.0, COUNTS_WITHIN_S - (time.monotonic() - began)))
        for _ in range(6):
            await self._ask_listing(kind, key, {new})
            if new == 401:
                await self._asking.ask(kind, CALL, key=key, body=body(), right={401}, needs=("mongo",))

    async def _ask_listing(self, kind: str, key: str, right: set[int]) -> object:
        return await self._asking.ask(kind, LISTING, method="GET", key=key, right=right, needs=("mongo",))

    async def _call_changing(self, right: int):  # noqa: ANN202  # an answer or None
        key = self._records.steady
        return await self._asking.ask(
            "changed assistant", CALL, key=key, body=body("changing"), right={right}, needs=FILES
        )

    async def _broken(self, write: Callable[..., None], text: str) -> None:
        await asyncio.to_thread(write, text)
        await asyncio.sleep(OUTAGE_S)
        await asyncio.to_thread(write)

    def _pids(self) -> list[int]:
        return [one.pid for one in self._stage.gunicorn_workers() if one.status() != psutil.STATUS_ZOMBIE]

    async def _until(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + RELOADED_S
        while time.monotonic() < until:
            try:
                if what():
                    return
            except psutil.NoSuchProcess:
                continue
            finally:
                await asyncio.sleep(0.1)
        self._oracle.fault("gunicorn", f"not {WORKERS} new processes within {RELOADED_S:.0f} s")


Step = Callable[[Disturbances], Awaitable[None]]

CYCLE: tuple[Step, ...] = (
    Disturbances.key_comes_and_goes,
    Disturbances.stored_key_comes_and_goes,
    Disturbances.keys_broken,
    Disturbances.call_killed,
    Disturbances.assistant_changes,
    Disturbances.mongo_restarted,
    Disturbances.process_killed,
    Disturbances.assistants_broken,
    Disturbances.redis_restarted,
    Disturbances.worker_killed,
)
"""What comes again and again."""

SELDOM: tuple[Step, ...] = (Disturbances.reloaded, Disturbances.livekit_restarted)
"""What comes twice in a run: it leaves no process, or no room, of those that were there before."""
