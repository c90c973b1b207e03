"""Everybody in a room has exactly one assistant, whatever becomes of workers, events and watchers."""

from __future__ import annotations

import asyncio
import secrets

from tests.support.calls import agents_in, place_call
from tests.support.livekit import LiveKitServer
from tests.support.person import joined
from tests.support.watch import MakeLightWorker, MakeWatcher


def new_name() -> str:
    return f"light-{secrets.token_hex(4)}"


def test_a_worker_that_starts_after_the_call(
    livekit_server: LiveKitServer, make_watcher: MakeWatcher, make_light_worker: MakeLightWorker
) -> None:
    """Without any webhook, a call that no worker took gets its assistant when a worker is there."""
    watcher = make_watcher(tries=5)
    name = new_name()

    async def talk() -> None:
        call = place_call(livekit_server, agent_name=name)
        async with joined(call) as person:
            await asyncio.to_thread(watcher.until_log, '"assistant sent again"')
            await asyncio.to_thread(make_light_worker, name)
            await person.until_assistant(within_s=25)
            assert len(await agents_in(livekit_server, call)) == 1

    asyncio.run(talk())
