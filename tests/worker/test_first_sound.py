"""What is interrupted before anybody hears it costs the rest of the call nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents.voice.room_io._output import _ParticipantAudioOutput

from webcall.worker.first_sound import keep_audible


def test_an_interruption_before_the_first_sound() -> None:
    """The output goes on to wait for its listener, and the next reply is heard."""
    keep_audible()
    keep_audible()

    async def run() -> bool:
        output: Any = object.__new__(_ParticipantAudioOutput)
        output._subscribed_fut = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(output.capture_frame(None))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        return first.cancelled() and not output._subscribed_fut.done()

    assert asyncio.run(run())
