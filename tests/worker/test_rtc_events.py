"""Events of LiveKit's SDK, whatever garbage is collected while they are handed out."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.rtc._ffi_client import FfiQueue

from webcall.worker.rtc_events import keep_all_events


def test_no_subscriber_is_passed_over() -> None:
    """One that goes away in the middle, as an object that is collected does, costs no other one its event."""
    keep_all_events()

    async def hand_out() -> None:
        queue: FfiQueue[str] = FfiQueue()
        going: list[Any] = []

        def go(_: str) -> bool:
            queue.unsubscribe(going[0])
            return True

        going.append(queue.subscribe(filter_fn=go))
        kept = [queue.subscribe(), queue.subscribe(filter_fn=lambda item: item != "other")]
        for event in ("one", "other", "two"):
            await asyncio.to_thread(queue.put, event)
        await asyncio.sleep(0)
        assert [[one.get_nowait() for _ in range(one.qsize())] for one in kept] == [
            ["one", "other", "two"],
            ["one", "two"],
        ]

    asyncio.run(hand_out())


def test_a_subscriber_whose_loop_has_ended_stops_nobody() -> None:
    """What is put for a loop that is closed is lost on nobody else."""
    keep_all_events()
    queue: FfiQueue[str] = FfiQueue()
    ended = asyncio.new_event_loop()
    queue.subscribe(loop=ended)
    ended.close()

    async def hand_out() -> str:
        kept = queue.subscribe()
        queue.put("one")
        return await asyncio.wait_for(kept.get(), 10)

    assert asyncio.run(hand_out()) == "one"
