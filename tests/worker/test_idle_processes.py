"""A process that is to take the next call does not start while this one begins, unless it is needed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.support.calls import place_call
from tests.support.livekit import LiveKitServer
from tests.support.person import joined
from tests.support.worker import MakeWorker
from webcall.startup import settings_only
from webcall.worker import ahead, capacity, server
from webcall.worker.server import Worker


class Pool:
    """What livekit-agents keeps its processes in, as far as it is asked here."""

    def __init__(self) -> None:
        self.processes: list[object] = []
        self.targets: list[int] = []

    def set_target_idle_processes(self, number: int) -> None:
        self.targets.append(number)


def request(name: str) -> Any:
    async def accept() -> None:
        return

    return SimpleNamespace(id=name, accept=accept)


@pytest.mark.parametrize(("idle", "at_once", "later"), [(3, [2], [2, 3]), (1, [], [])])
def test_a_call_begins_before_its_successor(
    idle: int, at_once: list[int], later: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several is missing for a moment, however many calls come in it; the only one is not."""
    values = {"URL": "ws://127.0.0.1:1", "API_KEY": "devkey", "API_SECRET": "s" * 40}
    for name, value in values.items():
        monkeypatch.setenv(f"LIVEKIT_{name}", value)
    monkeypatch.setenv("WEBCALL_WORKER_IDLE", str(idle))
    monkeypatch.setenv("WEBCALL_WORKER_MAX_CALLS", "8")
    monkeypatch.setenv(ahead._NAMES, "")
    monkeypatch.setattr(server, "_BEGINNING_S", 0.2)
    monkeypatch.setattr(capacity, "memory_for_one_more", lambda: True)
    worker, pool = Worker(settings_only()), Pool()
    worker.server._proc_pool = pool  # type: ignore[assignment]

    async def run() -> None:
        await worker.answer(request("first"))
        await worker.answer(request("second"))
        assert pool.targets == at_once
        async with asyncio.timeout(20):
            while pool.targets != later:
                await asyncio.sleep(0.01)
        if at_once:
            await worker.answer(request("third"))
            assert pool.targets == [*later, *at_once]

    asyncio.run(run())


def test_a_worker_has_as_many_again(livekit_server: LiveKitServer, make_worker: MakeWorker) -> None:
    """A worker with several takes a call by livekit-agents' own pool, and replaces the call's process."""
    worker = make_worker({"WEBCALL_WORKER_IDLE": "2"})
    assert worker.process is not None
    main = psutil.Process(worker.process.pid)

    def forked() -> int:
        return max(len(one.children()) for one in main.children())

    async def run() -> None:
        assert forked() == 2
        async with joined(place_call(livekit_server, agent_name=worker.agent_name, text_only=True)) as person:
            await person.until(person.words)
            await person.until(lambda: forked() == 3)

    asyncio.run(run())
