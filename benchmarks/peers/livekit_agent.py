"""The worker as a company would write it from LiveKit's documentation, for one kind of assistant.

    python -m benchmarks.peers.livekit_agent start

The form is that of LiveKit's voice quickstart and its agent starter for Python: models imported at the top,
the voice detection loaded before there is a call, `session.start`, which connects to the room meanwhile, and
a greeting by `generate_reply`. What the assistant is told comes from the dispatch, as this service sends it.
Environment: LIVEKIT_URL, LIVEKIT_API_KEY, LIVEKIT_API_SECRET; OPENAI_API_KEY and OPENAI_BASE_URL; PEER_PORT.
"""

from __future__ import annotations

import json
import math
import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, JobProcess, cli, inference
from livekit.plugins import openai

AGENT = "benchmark-peer"


def _free() -> float:
    # Not the machine's load: while other programs have it, LiveKit would offer no call at all.
    return 0.0


server = AgentServer(
    load_fnc=_free,
    load_threshold=math.inf,
    host="127.0.0.1",
    port=int(os.environ.get("PEER_PORT", "0")),
)


def prewarm(process: JobProcess) -> None:
    """Load the voice detection, in a process that waits for a call."""
    process.userdata["vad"] = inference.VAD(model="silero")


server.setup_fnc = prewarm


@server.rtc_session(agent_name=AGENT)
async def entrypoint(context: JobContext) -> None:
    """Run one call."""
    assistant = json.loads(context.job.metadata)["web_call"]["assistant"]
    session: AgentSession[None] = AgentSession(
        stt=openai.STT(),
        llm=openai.LLM(model="gpt-4.1-mini"),
        tts=openai.TTS(),
        vad=context.proc.userdata["vad"],
        # The starter's own detector is fetched from, or asked at, a service in the cloud.
        turn_handling={"turn_detection": "vad", "interruption": {"mode": "vad"}},
    )
    await session.start(agent=Agent(instructions=assistant["assistant_prompt"]), room=context.room)
    await context.connect()
    await session.generate_reply(instructions=assistant["assistant_start_instruction"])


if __name__ == "__main__":
    cli.run_app(server)
