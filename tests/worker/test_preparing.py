"""What a call asks of its models' providers before there is anything to say: as little as it can."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.model_jobs import job, provider_keys, worker
from tests.support.openai_stub import OpenAIStub, openai_stub
from webcall.worker.job import CallJob
from webcall.worker.preparing import Preparation, Prepared
from webcall.worker.session import make_session

__all__ = ["openai_stub", "provider_keys"]


def call(instruction: str) -> CallJob:
    return job(**{f"{part}_model": "openai" for part in ("llm", "stt", "tts")}, start_instruction=instruction)


@contextlib.asynccontextmanager
async def prepared(stub: OpenAIStub, about: CallJob) -> AsyncIterator[Prepared]:
    """Give what is prepared for a call whose person is there."""
    nobody: Any = None
    preparation = Preparation(nobody, worker(openai_base_url=stub.base_url), nobody, lambda: None)
    made: Any = await preparation.finish(about)
    try:
        yield made
    finally:
        await preparation.close()
        for model in (made.models.llm, made.models.tts):
            await model.aclose()
            await model._client.close()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("provider_keys")
@pytest.mark.parametrize(
    ("instruction", "looks", "requests"), [("Greet Ada.", ["/"], 1), ("", ["/", "/models"], 0)]
)
def test_connections_are_opened_once(
    openai_stub: OpenAIStub, instruction: str, looks: list[str], requests: int
) -> None:
    """One for the voice, and for the language model one where it has no request yet; none by the session."""

    async def run() -> None:
        async with prepared(openai_stub, call(instruction)) as made:
            await until(lambda: len(openai_stub.looks) >= len(looks))
            await until(lambda: len(openai_stub.requests) >= requests)
            session = make_session(job(text_only=True), made.models, None)
            await session.start(made.assistant, record=False, session_host=False)
            # What the session had asked for would be there before this is answered.
            await asyncio.wait_for(session.generate_reply(user_input="Hello?"), 20)
            await session.aclose()

    asyncio.run(run())
    assert sorted(openai_stub.looks) == looks
    assert len(openai_stub.requests) == requests + 1


@pytest.mark.usefixtures("provider_keys")
def test_a_request_starts_no_thread(openai_stub: OpenAIStub) -> None:
    """OpenAI's client would start one in each call, to find out which system it runs on."""

    async def run() -> set[threading.Thread]:
        before = set(threading.enumerate())
        async with prepared(openai_stub, call("Greet Ada.")):
            await until(lambda: bool(openai_stub.requests))
            return {one for one in threading.enumerate() if one.name.startswith("asyncio")} - before

    assert asyncio.run(run()) == set()
