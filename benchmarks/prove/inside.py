"""The prompt cannot be read from the browser."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

from benchmarks.prove.promise import Tried
from scripts import livekit_server
from tests.support.calls import place_call
from tests.support.deployment import livekit_environment
from tests.support.inside import CANARY, DEFINITION, METADATA, asked_session, probed
from tests.support.livekit import LiveKitServer
from tests.support.probe import METHODS, names_of_livekit_agents, session_messages
from tests.support.worker import WorkerProcess

AGENT = "prove-inside"


def prompt_stays_inside(folder: Path) -> Tried:
    """Ask for everything in a voice call and in a typed one, as any page could with the caller's token.

    The same questions to a session as livekit-agents makes it by default show that they can find something.
    """
    with ExitStack() as running:
        server = LiveKitServer(livekit_server.ensure(), folder)
        running.callback(server.stop)
        server.start()
        worker = WorkerProcess(livekit_environment(server), folder / "worker.log", AGENT)
        running.callback(worker.stop)
        worker.start()
        came, found = 0, set()
        for text_only in (False, True):
            call = place_call(
                server,
                DEFINITION,
                metadata=METADATA,
                text_only=text_only,
                agent_name=AGENT,
                departure_timeout_s=1,
            )
            probe = asyncio.run(probed(call, greeting="Ada"))
            came += len(probe.everything())
            found |= set(probe.found(CANARY))
        logged = CANARY.lower() in worker.output().lower()
        control = asyncio.run(asked_session(server, "prove_0a1b2c3d", session_host=True))
    asked = 2 * (len({*METHODS, *names_of_livekit_agents()}) + 2 * len(session_messages()))
    seen = control.found("CANARYprompt")
    return Tried(
        f"a voice call and a typed one: {asked} requests on every topic and method that livekit-agents has, "
        f"and LiveKit's API; {came} things received; the same of a session as livekit-agents makes it",
        f"{len(found)} channels gave anything of prompt, definition or metadata; of livekit-agents' own "
        f"{len(seen)} did",
        kept=not found and not logged and bool(seen),
    )
