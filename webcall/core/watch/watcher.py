"""Sees to it that everybody in a room has one assistant, and that calls end.

The truth is LiveKit's list of rooms, asked for now and then; its events only say where to look sooner. All
that matters is in LiveKit: who is in a room, what was sent there and when. So a watcher that was killed
goes on where it was, and what is kept here can be lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine

import structlog

from webcall.config.settings import WatchConfig
from webcall.core.idempotency import made_here
from webcall.core.livekit_rooms import OpenRoom, OpenRooms
from webcall.core.notices import Notice
from webcall.core.room_events import RoomEvent
from webcall.core.watch.acting import Acts
from webcall.core.watch.claims import Claims
from webcall.core.watch.counters import WatchCounters
from webcall.core.watch.judging import Close, Departure, Wait, judge
from webcall.core.watch.known import Known
from webcall.errors import LiveKitError
from webcall.logs import describe

log = structlog.stdlib.get_logger("webcall.watch")

_MOST_AT_ONCE = 16
# Of rooms that are new here apart from the others: what a dead node left behind takes LiveKit three seconds
# each to be silent about.
_MOST_NEW_AT_ONCE = 16


class Watcher:
    """Looks after the rooms of one LiveKit. Belongs to one event loop."""

    def __init__(self, rooms: OpenRooms, rules: WatchConfig, claims: Claims, counters: WatchCounters) -> None:
        self._rooms = rooms
        self._rules = rules
        self._acts = Acts(rooms, claims, counters)
        self._counters = counters
        self._known: dict[str, Known] = {}
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._slots_for_new = asyncio.Semaphore(_MOST_NEW_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping_fails = False

    async def run(self) -> None:
        """Sweep until cancelled."""
        try:
            while True:
                began = time.monotonic()
                await self._guarded_sweep()
                await asyncio.sleep(max(0.0, began + self._rules.sweep_s - time.monotonic()))
        finally:
            for known in self._known.values():
                known.plan_no_look()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def on_event(self, event: RoomEvent) -> None:
        """Look sooner at the room of an event of LiveKit."""
        self._counters.heard()
        if event.kind == "room_finished":
            self._forget(event.sid)
            return
        if event.kind not in ("participant_joined", "participant_left") or not event.sid:
            return
        if event.sid in self._known:
            # Somebody lives there: it is no room that a dead node has left behind.
            self._known[event.sid].end_rest()
        if event.of_assistant and event.kind == "participant_left":
            known = self._known.setdefault(event.sid, Known(event.sid))
            known.depart(event)
            late_s = 0.0 if known.departure is Departure.died else self._rules.grace_s
            self._look_after(known, event.room, late_s)
        elif event.of_person and event.kind == "participant_joined":
            known = self._known.setdefault(event.sid, Known(event.sid))
            known.had_people = True
            if known.alone_since is None:
                known.alone_since = time.monotonic()
            self._look_after(known, event.room, self._rules.grace_s)

    async def _guarded_sweep(self) -> None:
        try:
            await self.sweep()
        except LiveKitError as error:
            self._counters.sweeps.labels("failed").inc()
            self._counters.failures.labels(error.kind).inc()
            if not self._sweeping_fails:
                log.error("rooms cannot be listed", kind=error.kind, error=str(error))
            self._sweeping_fails = True
        except Exception as error:
            self._counters.sweeps.labels("failed").inc()
            log.error("watching failed", **describe(error))
        else:
            if self._sweeping_fails:
                log.warning("rooms can be listed again")
            self._sweeping_fails = False
            self._counters.swept()

    async def sweep(self) -> None:
        """Look at all rooms once. Raises `LiveKitError` if they cannot be listed."""
        asked_at = time.monotonic()
        rooms = await self._rooms.all()
        open_now = {room.sid for room in rooms}
        for sid in [sid for sid in self._known if sid not in open_now]:
            known = self._known[sid]
            # One that an event has told of since may be younger than the list.
            if known.alone_since is None or known.alone_since < asked_at:
                self._forget(sid)
        ours = [room for room in rooms if self._may_be_ours(room)]
        with_people = [room for room in ours if room.people]
        for room in with_people:
            if not self._is_known(room):
                self._begin(self._look(room))
        await asyncio.gather(*(self._look(room) for room in with_people if self._is_known(room)))
        self._counters.rooms.set(len(ours))
        alone = sum(known.alone_since is not None for known in self._known.values() if known.ours)
        self._counters.alone.set(alone)

    def _is_known(self, room: OpenRoom) -> bool:
        known = self._known.get(room.sid)
        return known is not None and known.ours is not None

    def _may_be_ours(self, room: OpenRoom) -> bool:
        known = self._known.get(room.sid)
        if known is not None and known.ours is not None:
            return known.ours
        return made_here(room.metadata)

    def _forget(self, sid: str) -> None:
        known = self._known.pop(sid, None)
        if known is not None:
            known.plan_no_look()

    def _look_after(self, known: Known, name: str, seconds: float) -> None:
        """Look at the room in so many seconds, or earlier if that is planned already."""
        loop = asyncio.get_running_loop()
        when = loop.time() + seconds
        if known.next_look is not None:
            if known.next_look.when() <= when:
                return
            known.next_look.cancel()
        known.next_look = loop.call_at(when, self._begin_look, known, name)

    def _begin_look(self, known: Known, name: str) -> None:
        known.next_look = None
        self._begin(self._look_by_name(known.sid, name))

    def _begin(self, looking: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(looking)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_by_name(self, sid: str, name: str) -> None:
        try:
            rooms = await self._rooms.all([name])
        except LiveKitError as error:
            # The sweep looks again.
            self._counters.failures.labels(error.kind).inc()
            return
        for room in rooms:
            if room.sid == sid and self._may_be_ours(room):
                await self._look(room)

    async def _look(self, room: OpenRoom) -> None:
        known = self._known.setdefault(room.sid, Known(room.sid))
        if known.busy or known.rests:
            return
        known.busy = True
        try:
            async with self._slots_for_new if known.ours is None else self._slots:
                await self._look_at(room, known)
            known.rest_s = 0.0
        except LiveKitError as error:
            self._counters.failures.labels(error.kind).inc()
            self._let_rest(room, known, error)
        except Exception as error:
            log.error("watching failed", room=room.name, **describe(error))
            known.rest(longer=False)
        finally:
            known.busy = False

    def _let_rest(self, room: OpenRoom, known: Known, error: LiveKitError) -> None:
        if not known.rest_s:
            log.warning("room does not answer", room=room.name, kind=error.kind, error=str(error))
        # A node that died has LiveKit answer so; any other fault is that of a LiveKit that is busy or away.
        known.rest(longer=error.kind == "answer")

    async def _look_at(self, room: OpenRoom, known: Known) -> None:
        present = await self._rooms.present(room.name)
        known.note(present, self._rooms.now())
        if not present.people:
            return
        if known.ours is None and known.read(await self._rooms.sent(room.name)):
            self._counters.calls_seen += 1
        if not known.ours:
            return
        if known.overtime_s(room, self._rooms.now()) >= self._rules.overtime_s:
            await self._acts.close(room, known, Notice.time_is_up)
        elif known.alone_since is not None:
            await self._judge_and_act(room, known)

    async def _judge_and_act(self, room: OpenRoom, known: Known) -> None:
        dispatches = await self._rooms.sent(room.name)
        verdict = judge(known.view(dispatches, self._rooms.now()), self._rules)
        if isinstance(verdict, Wait):
            self._look_after(known, room.name, verdict.seconds)
        elif isinstance(verdict, Close):
            await self._acts.close(room, known, verdict.notice)
        elif await self._acts.send_again(room, known, verdict, len(dispatches)):
            self._look_after(known, room.name, self._rules.grace_s)
