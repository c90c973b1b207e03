"""When a silent person is asked whether they are still there."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from livekit import rtc

from webcall.worker.interaction import Interaction
from webcall.worker.silence import Reprompts

AT_ONCE = Interaction(silence_reprompts=True, silence_reprompt_interval=0.01, silence_max_reprompts=2)


class Session(rtc.EventEmitter[Any]):
    """A session in which the assistant listens; what is asked of it is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.agent_state, self.user_state = "listening", "listening"
        self.asked = asyncio.Semaphore(0)
        self.count = 0

    def generate_reply(self, instructions: str) -> None:
        self.count += 1
        self.asked.release()
        self.speak_and_listen()

    def speak_and_listen(self) -> None:
        for state in ("speaking", "listening"):
            self.agent_state = state
            self.emit("agent_state_changed", SimpleNamespace(new_state=state))


def test_nobody_is_asked_while_away() -> None:
    """Whoever is away is not asked, though the assistant goes on to speak; who is back, and silent, is."""

    async def run() -> None:
        session: Any = Session()
        reprompts = Reprompts(session, AT_ONCE)
        reprompts.stop()
        session.speak_and_listen()
        # A loop's timers come in their order: one that would ask comes first.
        await asyncio.sleep(2 * AT_ONCE.silence_reprompt_interval)
        assert session.count == 0
        reprompts.resume()
        async with asyncio.timeout(10):
            for _ in range(AT_ONCE.silence_max_reprompts):
                await session.asked.acquire()
        await asyncio.sleep(2 * AT_ONCE.silence_reprompt_interval)
        assert session.count == AT_ONCE.silence_max_reprompts

    asyncio.run(run())
