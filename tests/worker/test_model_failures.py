"""A session with OpenAI's plugins on a server in OpenAI's place: what arrives, and what a fault becomes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit import rtc
from livekit.agents import (
    Agent,
    AgentSession,
    APIConnectOptions,
    APIError,
    CloseEvent,
    CloseReason,
    ErrorEvent,
    utils,
)
from livekit.agents.voice.agent_session import SessionConnectOptions

from tests.support.model_jobs import KEY, job, provider_keys, worker
from tests.support.openai_stub import CANARY, OpenAIStub, openai_stub
from webcall.worker import openai_client
from webcall.worker.models import Models, make_models

__all__ = ["openai_stub", "provider_keys"]

pytestmark = pytest.mark.usefixtures("provider_keys")

# A short timeout, so that a server that hangs does not hold up the test.
ONCE_MORE = APIConnectOptions(max_retry=1, retry_interval=0.1, timeout=1.0)
CONNECT = SessionConnectOptions(
    stt_conn_options=ONCE_MORE,
    llm_conn_options=ONCE_MORE,
    tts_conn_options=ONCE_MORE,
    max_unrecoverable_errors=0,
)


def models(stub: OpenAIStub, *, text_only: bool = True) -> Models:
    """Make the models of a call on the stub; in an event loop."""
    named: dict[str, Any] = {f"{part}_model": "openai" for part in ("llm", "stt", "tts")}
    return make_models(job(**named, text_only=text_only), worker(openai_base_url=stub.base_url))


@contextlib.asynccontextmanager
async def session(stub: OpenAIStub) -> AsyncIterator[tuple[AgentSession[None], list[Any]]]:
    """Run a typed session without a room; give it, and the events of its faults and its end."""
    llm = models(stub).llm
    made: AgentSession[None] = AgentSession(llm=llm, conn_options=CONNECT)
    events: list[Any] = []
    made.on("error", events.append)
    made.on("close", events.append)
    await made.start(Agent(instructions="Be brief."), record=False, session_host=False)
    try:
        yield made, events
    finally:
        await made.aclose()
        await llm._client.close()


@pytest.mark.parametrize("behaviour", ["stream", "slow"])
def test_a_streamed_reply_arrives(openai_stub: OpenAIStub, behaviour: Any) -> None:
    """The reply is whole, also from a slow server, and was asked for with the operator's key."""

    async def run() -> None:
        openai_stub.behaviour(behaviour)
        openai_stub.reply = "Four words of reply"
        async with session(openai_stub) as (one, events):
            result = await asyncio.wait_for(one.run(user_input="Hello?"), 20)
            result.expect.next_event().is_message(role="assistant")
            assert one.history.messages()[-1].text_content.strip() == openai_stub.reply
            assert events == []

    asyncio.run(run())
    [asked] = openai_stub.requests
    assert asked.bearer == KEY
    assert asked.body["model"] == "gpt-4.1"
    assert asked.body["stream"] is True
    assert asked.body["messages"][-1] == {"role": "user", "content": "Hello?"}


@pytest.mark.parametrize(
    ("behaviour", "requests"), [("401", 1), ("429", 2), ("500", 2), ("garbage", 2), ("hang", 2)]
)
def test_a_fault_ends_the_session(openai_stub: OpenAIStub, behaviour: Any, requests: int) -> None:
    """A provider's fault is an error event and the session's end; nothing of it becomes part of the talk.

    A refusal for good is not tried again; all else is, once.
    """

    async def run() -> None:
        openai_stub.behaviour(behaviour)
        async with session(openai_stub) as (one, events):
            closed = asyncio.Event()
            one.on("close", lambda _: closed.set())
            with pytest.raises(Exception):  # noqa: B017  # of the SDK's own kinds
                await asyncio.wait_for(one.run(user_input="Hello?"), 20)
            await asyncio.wait_for(closed.wait(), 20)
            *errors, end = events
            assert isinstance(end, CloseEvent)
            assert end.reason is CloseReason.ERROR
            assert all(isinstance(event, ErrorEvent) for event in errors)
            assert [event.error.type for event in errors] == ["llm_error"] * requests
            assert [event.error.recoverable for event in errors] == [True] * (requests - 1) + [False]
            assert CANARY not in str(one.history.to_dict())

    asyncio.run(run())
    assert len(openai_stub.requests) == requests


def test_speech_both_ways(openai_stub: OpenAIStub) -> None:
    """Speech is sent as a WAV file and understood; text comes back as sound; the faults of both are told."""

    async def run() -> None:
        made = models(openai_stub, text_only=False)
        assert made.stt is not None
        assert made.tts is not None
        async with utils.http_context.open():
            heard = await made.stt.recognize([rtc.AudioFrame.create(16000, 1, 16000)])
            assert heard.alternatives[0].text == openai_stub.heard
            async with made.tts.synthesize("Hello.") as stream:
                frames = [event.frame async for event in stream]
            assert sum(frame.duration for frame in frames) == pytest.approx(0.5, abs=0.1)
            assert any(any(frame.data) for frame in frames)

            openai_stub.behaviour("401", "transcription", "speech")
            told: list[Any] = []
            made.stt.on("error", told.append)
            made.tts.on("error", told.append)
            with pytest.raises(Exception, match="401"):
                await made.stt.recognize([rtc.AudioFrame.create(16000, 1, 16000)], conn_options=ONCE_MORE)
            with pytest.raises(Exception, match="401"):
                await made.tts.synthesize("Hello.", conn_options=ONCE_MORE).collect()
            assert [(one.type, one.recoverable) for one in told] == [
                ("stt_error", False),
                ("tts_error", False),
            ]
            # livekit-agents leaves this plugin's connections to the process's end.
            for one in (made.llm, made.stt, made.tts):
                await one._client.close()

    asyncio.run(run())
    transcription = openai_stub.requests[0]
    assert b'filename="file.wav"' in transcription.body
    assert b"RIFF" in transcription.body
    assert {request.bearer for request in openai_stub.requests} == {KEY}


def test_speech_that_hangs_is_given_up(openai_stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A voice that never comes is an error event in a bounded time, against the plugin's own half minute."""
    monkeypatch.setattr(openai_client, "TIMEOUT_S", 0.5)

    async def run() -> None:
        openai_stub.behaviour("hang")
        made = models(openai_stub, text_only=False)
        assert made.tts is not None
        told: list[Any] = []
        made.tts.on("error", told.append)
        with pytest.raises(APIError):
            await asyncio.wait_for(made.tts.synthesize("Hello.", conn_options=ONCE_MORE).collect(), 10)
        assert [one.recoverable for one in told] == [True, False]
        for one in (made.llm, made.stt, made.tts):
            await one._client.close()

    asyncio.run(run())
