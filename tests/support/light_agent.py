"""A worker without models, for tests of who is in which room: one process, its calls in threads.

    python -m tests.support.light_agent AGENT_NAME

Reads `LIVEKIT_URL`, `LIVEKIT_API_KEY` and `LIVEKIT_API_SECRET`. It writes a line when it takes calls and
for each call, looks for an earlier assistant and says that it listens, as the real worker does, and stays
until the room closes. With the text `leave` as a data packet on the topic `test`, an assistant leaves by
itself.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
from datetime import UTC, datetime
from typing import Any

from livekit import api, rtc
from livekit.agents import AgentServer, AutoSubscribe, JobContext, JobExecutorType, JobRequest
from livekit.agents.types import ATTRIBUTE_AGENT_STATE

from webcall.worker.attendance import Attendance

ORDERS = "test"


async def call(context: JobContext) -> None:
    """Be in the room."""
    attendance = Attendance(context.room)
    gone = asyncio.Event()

    def told(packet: rtc.DataPacket) -> None:
        if packet.topic == ORDERS and packet.data == b"leave":
            gone.set()

    context.room.on("data_received", told)
    context.room.on("disconnected", lambda *_: gone.set())
    await context.connect(auto_subscribe=AutoSubscribe.SUBSCRIBE_NONE)
    if await attendance.earlier_assistant(context.api, untold=True):
        say("another is here", context.room.name)
    else:
        await say_state(context)
        say("call begins", context.room.name)
        await gone.wait()
    context.shutdown("over")


async def say_state(context: JobContext) -> None:
    """Say that it listens, as livekit-agents' sessions do; without it, it might have failed to enter."""
    me = context.room.local_participant.identity
    await context.api.room.update_participant(
        api.UpdateParticipantRequest(
            room=context.room.name, identity=me, attributes={ATTRIBUTE_AGENT_STATE: "listening"}
        )
    )


async def accept(request: JobRequest) -> None:
    """Take every job."""
    await request.accept()


def say(*words: str) -> None:
    """Write a line at once, with the time."""
    print(datetime.now(UTC).isoformat(timespec="milliseconds"), *words, flush=True)


async def work(agent_name: str) -> None:
    """Take calls until SIGTERM."""
    server = AgentServer(
        job_executor_type=JobExecutorType.THREAD,
        max_retry=1_000_000,
        load_fnc=lambda *_: 0.1,
        load_threshold=math.inf,
        num_idle_processes=1,
        # Many of them start at once on a busy machine.
        initialize_process_timeout=120.0,
        host="127.0.0.1",
        port=0,
    )
    server.rtc_session(call, agent_name=agent_name, on_request=accept)
    server.on("worker_registered", lambda *_: say("worker registered"))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: os._exit(0))
    working: Any = server.run()
    await working


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
