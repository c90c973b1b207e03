"""Calls that go wrong, on the real server: words for the person, an end, nothing of the inside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from livekit import rtc

from tests.support.calls import PlacedCall, place_call, until_gone
from tests.support.livekit import LiveKitServer
from tests.support.openai_stub import CANARY, Behaviour, OpenAIStub, Route
from tests.support.person import Person, joined
from tests.support.worker import MakeWorker, WorkerProcess

GONE = rtc.DisconnectReason.ROOM_DELETED
SECRET = "canary-of-the-caller"


@contextlib.contextmanager
def stubs(count: int) -> Iterator[list[OpenAIStub]]:
    """Give so many servers in OpenAI's place."""
    with contextlib.ExitStack() as stack:
        made = [OpenAIStub() for _ in range(count)]
        for one in made:
            stack.callback(one.close)
        yield made


def definition(stub: OpenAIStub, *parts: str) -> dict[str, Any]:
    """Return a definition whose models of these parts are the stub's."""
    models: dict[str, Any] = {}
    for part, model in (("llm", "openai/gpt-x"), ("stt", "openai/whisper-1"), ("tts", "openai/tts-1")):
        if part in parts:
            models[f"assistant_{part}_model"] = model
            models[f"assistant_{part}_config"] = {"base_url": stub.base_url, "api_key": "sk-of-the-test"}
    return {"assistant_prompt": f"{SECRET} {{{{customer.name}}}}", **models}


def seen_by(person: Person) -> str:
    """Return all that has come to a person, as one text."""
    streams = [f"{one.text} {one.attributes}" for one in person.said]
    packets = [packet.data.decode("utf-8", "replace") for packet in person.packets]
    attributes = [
        str(dict(one.attributes)) + one.metadata for one in person.room.remote_participants.values()
    ]
    return " ".join([*streams, *packets, *attributes, person.room.metadata])


def test_a_provider_that_fails(livekit_server: LiveKitServer, make_worker: MakeWorker) -> None:
    """A provider that fails ends the call within some ten seconds, with words that are none of its own."""
    worker = make_worker({"WEBCALL_WORKER_ALLOW": "base_url,api_key"})
    cases: list[tuple[Route, Behaviour, str]] = [
        ("chat", "401", "llm"),
        ("chat", "500", "llm"),
        ("chat", "hang", "llm"),
        ("speech", "401", "tts"),
        ("transcription", "500", "stt"),
    ]

    async def fails(stub: OpenAIStub, route: Route, behaviour: Behaviour, part: str) -> None:
        stub.behaviour(behaviour, route)
        call = place_call(livekit_server, definition(stub, part), agent_name=worker.agent_name)
        async with joined(call) as person:
            # Five calls at once, each in a process that has to start first.
            if part == "stt":
                await person.until(person.words, 60)
                await person.speak("how do i use a real model")
            await person.until(lambda: route in [one.route for one in stub.requests], 60)
            asked = time.monotonic()
            assert await person.until_closed(20) == GONE, (route, behaviour)
            assert time.monotonic() - asked < 12, (route, behaviour)
            assert person.notices() == ["provider_failed"], (route, behaviour)
            assert CANARY not in seen_by(person)

    async def all_at_once(made: list[OpenAIStub]) -> None:
        await asyncio.gather(*(fails(stub, *case) for stub, case in zip(made, cases, strict=True)))

    with stubs(len(cases)) as made:
        asyncio.run(all_at_once(made))
    log = worker.output()
    assert log.count('"provider failed"') >= len(cases)
    assert not [word for word in (CANARY, SECRET, "sk-of-the-test", "Ada") if word in log]


def test_a_real_model_in_the_room(livekit_server: LiveKitServer, make_worker: MakeWorker) -> None:
    """Providers are asked once somebody is there, with prompt and instruction; typed calls need no speech."""
    worker = make_worker({"WEBCALL_WORKER_ALLOW": "base_url,api_key"})
    typed = "canary-of-what-is-typed"

    async def talk(stub: OpenAIStub) -> None:
        call = place_call(
            livekit_server,
            definition(stub, "llm", "stt", "tts")
            | {"assistant_llm_config": {**_llm(stub), "temperature": 0.25}},
            agent_name=worker.agent_name,
        )
        await asyncio.to_thread(worker.until_line, "call begins", call.room_name)
        assert not stub.requests
        async with joined(call) as person:
            assert await person.until(lambda: stub.reply in [text.strip() for text in person.words()])
            await person.until(lambda: person.loud_frames > 5)
            await person.reply_to(typed)
            chats = [one.body for one in stub.requests if one.route == "chat"]
            assert chats[0]["temperature"] == 0.25
            said = [(one["role"], _content(one)) for one in chats[0]["messages"]]
            assert said[0] == ("system", f"{SECRET} Ada")
            assert said[-1][1] == "Greet Ada."
            assert _content(chats[-1]["messages"][-1]) == typed
            assert "Greet" not in seen_by(person)
            assert SECRET not in seen_by(person)

    async def chat(stub: OpenAIStub) -> None:
        call = place_call(
            livekit_server,
            definition(stub, "llm", "stt", "tts"),
            agent_name=worker.agent_name,
            text_only=True,
        )
        async with joined(call) as person:
            await person.until(person.words)
            await person.reply_to(typed)
            assert {one.route for one in stub.requests} == {"chat"}

    with stubs(2) as (first, second):
        asyncio.run(talk(first))
        asyncio.run(chat(second))
    assert not [word for word in (SECRET, typed, "Ada", "Greet") if word in worker.output()]


def _llm(stub: OpenAIStub) -> dict[str, Any]:
    return {"base_url": stub.base_url, "api_key": "sk-of-the-test"}


def _content(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def test_calls_that_cannot_begin(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """A bad dispatch and a model that cannot be had here are told to the person; then the room is closed."""

    async def told(call: PlacedCall, code: str) -> None:
        async with joined(call) as person:
            assert await person.until_closed() == GONE
            assert person.notices() == [code]
            assert SECRET not in seen_by(person)

    def dispatched(metadata: str, **options: Any) -> PlacedCall:
        return place_call(livekit_server, agent_name=worker.agent_name, dispatch=metadata, **options)

    def modelled(**fields: Any) -> PlacedCall:
        return place_call(livekit_server, fields, agent_name=worker.agent_name)

    async def all_at_once() -> None:
        lonely = dispatched("{", empty_timeout_s=3)
        await asyncio.gather(
            told(dispatched(f"{SECRET} {{"), "bad_dispatch"),
            told(dispatched(json.dumps({"key": SECRET})), "bad_dispatch"),
            told(dispatched(json.dumps({"web_call": {"version": 2}})), "bad_dispatch"),
            told(modelled(assistant_llm_model=f"nobody/{SECRET}"), "model_unavailable"),
            told(modelled(assistant_llm_model="openai/gpt-x"), "model_unavailable"),
            until_gone(livekit_server, lonely, 8),
        )

    asyncio.run(all_at_once())
    assert SECRET not in worker.output()
