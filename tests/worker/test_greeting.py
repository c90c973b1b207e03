"""The first words, asked for while the room is still being entered: once, and a reply like any other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import api, rtc
from livekit.agents import AgentSession, CloseEvent, CloseReason

from tests.support.calls import assistant_in, place_call
from tests.support.livekit import LiveKitServer
from tests.support.model_jobs import job, provider_keys, worker
from tests.support.openai_stub import OpenAIStub, openai_stub
from tests.support.person import joined
from webcall.worker import attendance
from webcall.worker.attendance import Attendance
from webcall.worker.job import CallJob
from webcall.worker.models import make_models
from webcall.worker.session import Assistant, make_session

__all__ = ["openai_stub", "provider_keys"]

PROMPT, INSTRUCTION = "Be brief.", "Greet Ada."


def call(**fields: Any) -> CallJob:
    models = {f"{part}_model": "openai" for part in ("llm", "stt", "tts")}
    return job(**{"prompt": PROMPT, "start_instruction": INSTRUCTION, **models, **fields}, text_only=True)


@contextlib.asynccontextmanager
async def prepared(stub: OpenAIStub, about: CallJob) -> AsyncIterator[tuple[AgentSession[None], Assistant]]:
    """Give a session that is not started and its assistant, which has been asked for its first words."""
    models = make_models(about, worker(openai_base_url=stub.base_url))
    assistant = Assistant(about, models, lambda: None)
    assistant.prepare_greeting(about, models)
    session = make_session(about, models, None)
    try:
        yield session, assistant
    finally:
        await assistant.drop_greeting()
        await session.aclose()
        await models.llm._client.close()


async def start(session: AgentSession[None], assistant: Assistant) -> None:
    await session.start(assistant, record=False, session_host=False)


async def until(what: Any, within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not what():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("provider_keys")
@pytest.mark.parametrize("fields", [{}, {"end_call_enabled": True}, {"prompt": ""}])
def test_they_are_asked_for_once_and_stand_in_the_history(openai_stub: OpenAIStub, fields: Any) -> None:
    """What was asked early is the session's own first reply, word for word, and asked no second time."""

    async def run() -> None:
        async with prepared(openai_stub, call(**fields)) as (session, assistant):
            # Before there is a session.
            await until(lambda: openai_stub.requests)
            await start(session, assistant)
            await asyncio.wait_for(session.generate_reply(instructions=INSTRUCTION), 20)
            openai_stub.reply = "Noon."
            await asyncio.wait_for(session.generate_reply(user_input="What time is it?"), 20)
            said = [(one.role, one.text_content.strip()) for one in session.history.messages()]
            assert said == [
                ("assistant", "Hello from the stub, this is a streamed reply."),
                ("user", "What time is it?"),
                ("assistant", "Noon."),
            ]

    asyncio.run(run())
    early, later = (one.body for one in openai_stub.requests)
    assert [one["content"] for one in early["messages"]] == [fields.get("prompt", PROMPT), INSTRUCTION]
    assert early.get("tools") == later.get("tools")
    assert ("tools" in early) is bool(fields.get("end_call_enabled"))
    # The instructions of one reply are no part of the talk.
    assert [one["role"] for one in later["messages"]] == ["system", "assistant", "user"]


@pytest.mark.usefixtures("provider_keys")
def test_another_question_gets_an_answer_of_its_own(openai_stub: OpenAIStub) -> None:
    """A typed message that comes before the greeting is not answered by it, nor is anything after it."""

    async def run() -> None:
        async with prepared(openai_stub, call()) as (session, assistant):
            await until(lambda: openai_stub.requests)
            openai_stub.reply = "Noon."
            await start(session, assistant)
            for asked in ("What time is it?", "And now?"):
                await asyncio.wait_for(session.generate_reply(user_input=asked), 20)
            said = [one.text_content.strip() for one in session.history.messages() if one.role != "user"]
            assert said == ["Noon.", "Noon."]

    asyncio.run(run())
    assert len(openai_stub.requests) == 3


@pytest.mark.usefixtures("provider_keys")
@pytest.mark.parametrize(("behaviour", "requests"), [("401", 1), ("500", 2)])
def test_a_fault_before_the_session_ends_it(openai_stub: OpenAIStub, behaviour: Any, requests: int) -> None:
    """A model that has failed before the session listened ends it as one that fails later, tried as often."""
    openai_stub.behaviour(behaviour)

    async def run() -> None:
        async with prepared(openai_stub, call()) as (session, assistant):
            ends: list[CloseEvent] = []
            session.on("close", ends.append)
            await until(lambda: assistant._greeting and assistant._greeting._stream._task.done())
            await start(session, assistant)
            session.generate_reply(instructions=INSTRUCTION)
            await until(lambda: ends)
            assert ends[0].reason is CloseReason.ERROR
            assert ends[0].error is not None
            assert ends[0].error.type == "llm_error"

    asyncio.run(run())
    assert len(openai_stub.requests) == requests


@pytest.mark.usefixtures("provider_keys")
@pytest.mark.parametrize(
    "fields", [{"start_instruction": ""}, {"interaction_config": {"speaks_first": False}}]
)
def test_who_does_not_begin_is_not_asked(openai_stub: OpenAIStub, fields: Any) -> None:
    """An assistant whose person speaks first asks nothing before."""

    async def run() -> None:
        async with prepared(openai_stub, call(**fields)) as (session, assistant):
            await start(session, assistant)
            await asyncio.wait_for(session.generate_reply(user_input="Hello?"), 20)

    asyncio.run(run())
    assert len(openai_stub.requests) == 1


def test_the_person_is_expected_once_let_in(livekit_server: LiveKitServer) -> None:
    """Whoever only has a token is not expected; who has joined is, unless another assistant is there."""

    async def run() -> None:
        placed = place_call(livekit_server, agent_name="nobody")
        entering = rtc.Room()
        # As livekit-agents does before it connects.
        entering._info.name = placed.room_name
        own = Attendance(entering)
        async with livekit_server.api() as client:
            waiting = asyncio.create_task(own.expected(client, "me"))
            done, _ = await asyncio.wait([waiting], timeout=1)
            assert not done
            async with joined(placed):
                assert await asyncio.wait_for(waiting, 20)
                async with assistant_in(livekit_server, placed, "me"):
                    assert await own.expected(client, "me")
                    assert not await own.expected(client, "somebody else")

    asyncio.run(run())


def test_nobody_is_expected_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked a few times for somebody who has a token and does not come, and no more."""
    monkeypatch.setattr(attendance, "_EARLY_S", 0.3)
    asked = 0

    async def list_participants(_: object) -> api.ListParticipantsResponse:
        nonlocal asked
        asked += 1
        return api.ListParticipantsResponse()

    async def run() -> bool:
        livekit: Any = SimpleNamespace(room=SimpleNamespace(list_participants=list_participants))
        return await asyncio.wait_for(Attendance(rtc.Room()).expected(livekit, "me"), 20)

    assert asyncio.run(run()) is False
    assert 1 <= asked <= 7
