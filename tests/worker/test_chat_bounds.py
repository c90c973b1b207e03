"""The bounds on typed messages, on the real server: whoever goes beyond is told, and the chat goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
from livekit import api, rtc

from tests.support.calls import PlacedCall, place_call
from tests.support.livekit import LiveKitServer
from tests.support.person import CHAT, Person, joined
from tests.support.worker import MakeWorker, WorkerProcess


@asynccontextmanager
async def chatting(server: LiveKitServer, worker: WorkerProcess) -> AsyncIterator[tuple[PlacedCall, Person]]:
    call = place_call(server, agent_name=worker.agent_name, text_only=True)
    async with joined(call) as person:
        await person.until(lambda: any(one.ended for one in person.replies()))
        yield call, person
        await person.type("", "webcall.bye")


async def open_stream(person: Person, text: str, **options: Any) -> rtc.TextStreamWriter:
    """Begin a message and leave it open."""
    writer = await person.room.local_participant.stream_text(topic=CHAT, **options)
    await writer.write(text)
    return writer


def test_too_long_too_fast_and_never_ending(livekit_server: LiveKitServer, make_worker: MakeWorker) -> None:
    """Messages too long, too many at once or without an end are refused in words; the next is answered."""
    worker = make_worker(chat_max_bytes=100, chat_per_minute=1000)

    async def too_long() -> None:
        async with chatting(livekit_server, worker) as (_, person):
            await person.type("x" * 101)
            await person.until(lambda: person.notices() == ["message_too_long"])
            # The same words come no more often than every two seconds.
            await asyncio.sleep(2)
            writer = await open_stream(person, "ä" * 51)
            await person.until(lambda: person.notices() == ["message_too_long"] * 2)
            await writer.aclose()
            assert len(person.words()) == 1
            longest = "repeat after me " + "y" * 84
            assert await person.reply_to(longest) == "y" * 84
            assert all(one.attributes["ends"] == "false" and one.text for one in person.said_by_service())

    async def never_ending() -> None:
        async with chatting(livekit_server, worker) as (_, person):
            writers = [await open_stream(person, "on and on") for _ in range(4)]
            await person.type("a fifth at once")
            await person.until(lambda: person.notices() == ["too_many_messages"])
            # Nothing of these is read after ten seconds, and their places are free again.
            await person.until(lambda: "message_unreadable" in person.notices(), 15)
            assert await person.reply_to("repeat after me thanks") == "thanks"
            for writer in writers:
                await writer.aclose()
            assert len(person.words()) == 2

    async def flooding() -> None:
        async with chatting(livekit_server, worker) as (call, person):
            (line,) = worker.lines("call begins", call.room_name)
            process = psutil.Process(line["pid"])
            before = process.memory_info().rss
            writer = await open_stream(person, "x")
            for _ in range(200):
                await writer.write("x" * 14_000)
            await writer.aclose()
            for _ in range(100):
                await person.type("x" * 14_000)
            assert await person.reply_to("repeat after me still here") == "still here"
            assert "message_too_long" in person.notices()
            grown_mb = (process.memory_info().rss - before) / 2**20
            assert grown_mb < 30

    async def all_at_once() -> None:
        await asyncio.gather(too_long(), never_ending(), flooding())

    asyncio.run(all_at_once())


def test_rate_turns_and_strangers(livekit_server: LiveKitServer, make_worker: MakeWorker) -> None:
    """Messages beyond the rate and the turns are refused in words, a stranger's are not read at all."""
    worker = make_worker(chat_per_minute=4, chat_max_turns=500)
    few = make_worker(chat_max_turns=2)

    async def too_fast() -> None:
        async with chatting(livekit_server, worker) as (_, person):
            for number in range(6):
                await person.type(f"repeat after me number{number}")
            await person.until(lambda: any(text.startswith("number3") for text in person.words()))
            await person.until(lambda: person.notices() == ["too_many_messages"])
            assert not any("number4" in text or "number5" in text for text in person.words())

    async def too_many_turns() -> None:
        async with chatting(livekit_server, few) as (_, person):
            for word in ("one", "two"):
                assert await person.reply_to(f"repeat after me {word}") == word
            await person.type("repeat after me three")
            await person.until(lambda: person.notices() == ["turns_used_up"])

    async def stranger() -> None:
        async with chatting(livekit_server, worker) as (call, person):
            token = (
                api.AccessToken(livekit_server.key, livekit_server.secret)
                .with_identity("helper")
                .with_kind("agent")
                .with_attributes({"lk.publish_on_behalf": "somebody"})
                .with_grants(api.VideoGrants(room_join=True, room=call.room_name))
            )
            other = PlacedCall(call.room_name, token.to_jwt(), call.server_url)
            async with joined(other) as helper:
                await helper.type("repeat after me I am a stranger")
                await helper.type("x" * 9000)
                assert await person.reply_to("repeat after me I am not") == "I am not"
                assert not [text for text in person.words() if "stranger" in text]
                assert not person.notices() + helper.notices()

    async def all_at_once() -> None:
        await asyncio.gather(too_fast(), too_many_turns(), stranger())

    asyncio.run(all_at_once())
