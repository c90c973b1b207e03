"""What is inside a call stays inside: prompt, metadata, definition and a provider's words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from livekit import rtc

from tests.support.calls import place_call
from tests.support.inside import CANARY, DEFINITION, METADATA, probed
from tests.support.livekit import LiveKitServer
from tests.support.openai_stub import CANARY as PROVIDERS_CANARY
from tests.support.openai_stub import OpenAIStub, openai_stub
from tests.support.probe import Probe, probing
from tests.support.worker import MakeWorker, WorkerProcess

__all__ = ["openai_stub"]


@pytest.mark.parametrize("text_only", [False, True], ids=["voice", "text"])
def test_a_caller_finds_nothing_of_the_inside(
    livekit_server: LiveKitServer, worker: WorkerProcess, text_only: bool
) -> None:
    """Whatever a caller's own token may send, and whatever comes, no canary is in it, nor in the log."""
    call = place_call(
        livekit_server,
        DEFINITION,
        metadata=METADATA,
        text_only=text_only,
        agent_name=worker.agent_name,
        departure_timeout_s=1,
    )
    probe = asyncio.run(probed(call, greeting="Ada"))
    assert probe.found(CANARY) == []
    assert CANARY.lower() not in worker.output().lower()
    # Else the probe was deaf: the assistant did answer what was typed.
    assert probe.found("lk.agent.state")
    assert len(probe.person.words()) > 3


@pytest.mark.parametrize("behaviour", ["401", "500", "garbage"])
def test_a_providers_words_stay_inside(
    livekit_server: LiveKitServer, make_worker: MakeWorker, openai_stub: OpenAIStub, behaviour: Any
) -> None:
    """A provider that had the prompt and fails later ends the call; no word of its error comes through."""
    worker = make_worker(
        {
            "OPENAI_BASE_URL": openai_stub.base_url,
            "OPENAI_API_KEY": f"sk-{CANARY}",
            **{f"WEBCALL_{part}": "openai" for part in ("LLM", "STT", "TTS")},
        }
    )
    call = place_call(livekit_server, DEFINITION, metadata=METADATA, agent_name=worker.agent_name)
    greeting = openai_stub.reply.split(" ", maxsplit=1)[0]

    async def run() -> Probe:
        async with probing(call) as probe:
            assistant = await probe.person.until_assistant()
            await probe.person.until(lambda: greeting in " ".join(probe.person.words()))
            await probe.ask(assistant.identity)
            openai_stub.behaviour(behaviour)
            await probe.person.type("And now?")
            await probe.person.until(probe.person.disconnected.is_set, 30)
            assert probe.person.disconnect_reason == rtc.DisconnectReason.ROOM_DELETED
            return probe

    probe = asyncio.run(run())
    assert worker.lines("provider failed")
    [asked, *_] = [request.body for request in openai_stub.requests if request.route == "chat"]
    assert f"{CANARY}prompt for Ada: {CANARY}metadata" in str(asked)
    for canary in (CANARY, PROVIDERS_CANARY):
        assert probe.found(canary) == []
        assert canary.lower() not in worker.output().lower()
