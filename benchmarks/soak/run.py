"""One run: load, people and disturbances side by side, until the time is up and every room is gone."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.soak.asking import PATIENCE_S, Asking
from benchmarks.soak.disturbances import CYCLE, SELDOM, Disturbances
from benchmarks.soak.figures import Figures
from benchmarks.soak.kinds import ROOM_S, mix
from benchmarks.soak.oracle import Oracle
from benchmarks.soak.people import People
from benchmarks.soak.records import CANARY
from benchmarks.soak.stage import Stage
from benchmarks.soak.verdict import Verdict

TEXT_OF_PEOPLE = 0.75
"""The share of people who type; the others hear a voice, which costs the worker more."""
_SEED = 20


@dataclass(frozen=True)
class Plan:
    """How long, how many rounds of requests a second, and how often people and disturbances come; 0: never.

    Without `until_empty` the run does not wait for the rooms of calls that nobody joined, nor count them.
    """

    whole_s: float
    rate: float
    person_s: float
    disturbed_s: float
    until_empty: bool = True


class _Tasks:
    """Tasks that run beside each other; what one raises is kept as a fault of the soak itself."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, doing: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(doing)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._oracle.fault("the soak itself", f"{type(error).__name__}: {error!s:.200}")

    async def finish(self, within_s: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=within_s)
        for task in list(self._running):
            task.cancel()
            self._oracle.fault(
                "the soak itself", f"not done {within_s:.0f} s after the end: {task.get_coro()}"
            )


async def run(stage: Stage, plan: Plan) -> Verdict:
    """Run the plan on a stage that stands."""
    oracle = Oracle()
    figures = Figures(stage)
    async with Asking(stage, oracle, random.Random(_SEED)) as asking:
        people = People(asking)
        disturbances = Disturbances(asking, people)
        tasks = _Tasks(oracle)
        cpu_before = _cpu_s()
        end = oracle.began + plan.whole_s
        async with asyncio.TaskGroup() as group:
            group.create_task(_load(asking, tasks, plan, end))
            group.create_task(_sample(figures, plan, end))
            group.create_task(oracle.watch_the_machine(end))
            if plan.person_s:
                group.create_task(_visits(people, tasks, plan, end))
            if plan.disturbed_s:
                group.create_task(_disturb(disturbances, oracle, plan, end))
        cpu_s = _cpu_s() - cpu_before
        await tasks.finish(240)
        figures.look()
        left = await _rooms_left(asking) if plan.until_empty else []
    faults = figures.faults()
    faults += _written(stage.logs(), [*stage.records.secrets, stage.livekit.secret, CANARY])
    if left:
        faults.append(f"{len(left)} rooms left over, such as {left[0]}")
    return Verdict(
        plan=vars(plan),
        oracle=oracle,
        lives=list(figures.lives.values()),
        people=people.seen.as_json(),
        rooms_checked=asking.rooms_checked,
        rooms_left=len(left),
        at_once=tuple(disturbances.at_once),
        webhooks=_webhooks(stage),
        own_cpu=round(cpu_s / plan.whole_s, 3),
        faults=faults,
    )


async def _load(asking: Asking, tasks: _Tasks, plan: Plan, end: float) -> None:
    """Begin rounds at a steady rate, however long the answers take."""
    kinds = mix()
    at = time.monotonic()
    for number in itertools.count(1):
        [kind] = asking.random.choices(list(kinds), list(kinds.values()))
        tasks.start(kind(asking))
        wait = at + number / plan.rate - time.monotonic()
        if time.monotonic() + max(0.0, wait) >= end:
            return
        await asyncio.sleep(max(0.0, wait))


async def _visits(people: People, tasks: _Tasks, plan: Plan, end: float) -> None:
    """Send people, one so often; the last of them early enough to be gone at the end."""
    for number in itertools.count():
        share = (number * TEXT_OF_PEOPLE) % 1
        tasks.start(people.visit(text_only=share < TEXT_OF_PEOPLE))
        await asyncio.sleep(plan.person_s)
        if time.monotonic() >= end:
            return


async def _disturb(disturbances: Disturbances, oracle: Oracle, plan: Plan, end: float) -> None:
    """Disturb so often; what comes seldom, at a third and at two thirds of the time."""
    began = oracle.began
    cycle = itertools.cycle(CYCLE)
    seldom = [(share, step) for share in (1 / 3, 2 / 3) for step in SELDOM]
    while True:
        await asyncio.sleep(plan.disturbed_s)
        if time.monotonic() + plan.disturbed_s / 2 >= end:
            return
        if seldom and time.monotonic() - began >= seldom[0][0] * plan.whole_s:
            step = seldom.pop(0)[1]
        else:
            step = next(cycle)
        print(f"{time.monotonic() - began:7.0f} s  {step.__name__}", file=sys.stderr, flush=True)
        try:
            await step(disturbances)
        except Exception as error:
            oracle.fault("the soak itself", f"{step.__name__}: {type(error).__name__}: {error!s:.200}")


async def _sample(figures: Figures, plan: Plan, end: float) -> None:
    every = max(1.0, min(15.0, plan.whole_s / 100))
    while time.monotonic() < end:
        await asyncio.to_thread(figures.look)
        await asyncio.sleep(every)


async def _rooms_left(asking: Asking) -> list[str]:
    """Wait as long as a room may be open with nobody in it; return those that are there still."""
    until = time.monotonic() + ROOM_S
    left = ["unknown"]
    while left and time.monotonic() < until:
        with contextlib.suppress(Exception):
            left = await asyncio.wait_for(asking.living(), PATIENCE_S)
        await asyncio.sleep(1 if left else 0)
    return left


def _written(logs: dict[str, Path], secrets: list[str]) -> list[str]:
    """Return which log holds one of these, or a trace of a defect."""
    found = []
    for name, path in logs.items():
        text = path.read_text("utf-8", "replace") if path.exists() else ""
        if any(secret in text for secret in secrets):
            found.append(f"the {name}'s log holds a key, a secret, a prompt or metadata")
        if count := len(re.findall(r'"event": "defect"|^Traceback', text, re.MULTILINE)):
            found.append(f"the {name}'s log has {count} traces of defects")
    return found


def _webhooks(stage: Stage) -> int:
    text = stage.service.log.read_text("utf-8", "replace")
    return sum('"route": "/livekit/webhook", "status": 200' in line for line in text.splitlines())


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system
