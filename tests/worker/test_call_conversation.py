"""Conversations with the demo's assistant on the real server: typed, spoken, and both at once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from livekit import api

from tests.support.calls import place_call
from tests.support.livekit import LiveKitServer
from tests.support.person import CHAT, Person, joined
from tests.support.worker import WorkerProcess

AGENT_STATE = "lk.agent.state"
# A sentence that the demo understands, and what stands in its answer.
ASKED, ANSWERED = "how do i use a real model", "real model"


async def greeted(person: Person) -> str:
    """Wait for the first whole text of the assistant."""
    first: str = await person.until(lambda: next((one.text for one in person.replies() if one.ended), ""))
    return first


def test_speech_and_typing_in_one_room(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """Speech is heard and answered before, during and after typed messages, which interrupt, spoken."""

    async def talk() -> None:
        async with joined(place_call(livekit_server, agent_name=worker.agent_name)) as person:
            assert "Ada" in await greeted(person)
            await person.until(lambda: person.loud_frames > 10)
            assert await person.ask_aloud(ASKED, ANSWERED)
            assert person.heard_as()[-1] == ASKED

            await person.type("count to thirty")
            await person.until(lambda: "30" in "".join(person.words()))
            agent = person.assistants[0]
            await person.until(lambda: agent.attributes.get(AGENT_STATE) == "speaking")
            heard = person.loud_frames
            assert await person.reply_to("repeat after me stop counting") == "stop counting"
            await person.until(lambda: person.loud_frames > heard + 5)
            # Thirty numbers take longer to say than this: they have been interrupted.
            await person.until(lambda: agent.attributes.get(AGENT_STATE) == "listening", 6)

            await person.type("count to thirty")
            assert await person.ask_aloud(ASKED, ANSWERED)
            assert person.heard_as()[-1] == ASKED
            assert not person.notices()

    asyncio.run(talk())


def test_twenty_typed_messages_while_speech_plays(
    livekit_server: LiveKitServer, worker: WorkerProcess
) -> None:
    """Each of twenty typed messages is answered, in order, while the person speaks without a break."""

    async def talk() -> None:
        async with joined(place_call(livekit_server, agent_name=worker.agent_name)) as person:
            await greeted(person)

            async def speaking() -> None:
                while True:
                    await person.speak(ASKED)

            talking = asyncio.create_task(speaking())
            try:
                for number in range(20):
                    await person.type(f"repeat after me number{number} is here")
                    await asyncio.sleep(0.7)
                await person.until(lambda: any("number19" in text for text in person.words()), 30)
                assert person.heard_as().count(ASKED) >= 3
            finally:
                talking.cancel()
                await asyncio.gather(talking, return_exceptions=True)
            found = [
                next((at for at, text in enumerate(person.words()) if f"number{number} " in f"{text} "), None)
                for number in range(20)
            ]
            assert None not in found, found
            assert found == sorted(found)  # type: ignore[type-var]
            assert not person.notices()

    asyncio.run(talk())


def test_text_only_has_no_sound(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """In a text-only call neither side publishes a track, speech has no models, and replies are quick."""

    async def talk() -> None:
        call = place_call(livekit_server, text_only=True, agent_name=worker.agent_name)
        async with joined(call) as person:
            assert "Ada" in await greeted(person)
            took = []
            for number in range(5):
                asked = time.monotonic()
                seen = len(person.replies())
                await person.type(f"spell word{number}")
                await person.until(lambda seen=seen: len(person.replies()) > seen)
                took.append(person.replies()[-1].began_at - asked)
            assert sorted(took)[2] < 0.5, took
            async with livekit_server.api() as livekit:
                there = await livekit.room.list_participants(api.ListParticipantsRequest(room=call.room_name))
            assert len(there.participants) == 2
            assert not any(one.tracks for one in there.participants)
            # A microphone that the person publishes against the token never arrives.
            publishing = asyncio.create_task(person.open_microphone())
            await asyncio.wait({publishing}, timeout=1)
            async with livekit_server.api() as livekit:
                there = await livekit.room.list_participants(api.ListParticipantsRequest(room=call.room_name))
            assert not any(one.tracks for one in there.participants)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)

    asyncio.run(talk())


def test_interaction_settings(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """Who speaks first, who may interrupt, reprompts and replies on chat are as the definition says."""

    def place(interaction: dict[str, Any], **options: Any) -> Any:
        return place_call(
            livekit_server,
            {"assistant_interaction_config": interaction},
            agent_name=worker.agent_name,
            **options,
        )

    async def waits_to_be_spoken_to() -> None:
        async with joined(place({"speaks_first": False}, text_only=True)) as person:
            await person.until_assistant()
            assert await person.reply_to("repeat after me hello") == "hello"
            assert person.words() == ["hello"]

    async def lets_nobody_interrupt() -> None:
        async with joined(place({"allow_interruptions": False})) as person:
            await greeted(person)
            await person.until(lambda: person.loud_frames > 10)
            agent = person.assistants[0]
            await person.type("repeat after me I waited")
            states = []
            person.room.on(
                "participant_attributes_changed", lambda *_: states.append(agent.attributes.get(AGENT_STATE))
            )
            await person.until(lambda: "I waited" in person.words())
            assert "listening" in states

    async def asks_the_silent() -> None:
        settings = {
            "silence_reprompts": True,
            "silence_reprompt_interval": 0.5,
            "silence_max_reprompts": 1,
            "speaks_first": False,
        }
        async with joined(place(settings)) as person:
            await greeted(person)
            agent = person.assistants[0]
            await person.until(lambda: agent.attributes.get(AGENT_STATE) == "listening")
            await asyncio.sleep(1.5)
            assert len(person.words()) == 1
            # Whoever types starts the count anew.
            await person.reply_to("repeat after me yes")
            await person.until(lambda: len(person.words()) == 3)

    async def answers_on_chat() -> None:
        async with joined(place({"reply_on_chat": True}, text_only=True)) as person:
            await greeted(person)
            assert await person.reply_to("repeat after me hello") == "hello"
            await person.until(lambda: "hello" in person.words(CHAT))
            assert "Ada" in person.words(CHAT)[0]

    async def all_at_once() -> None:
        await asyncio.gather(
            waits_to_be_spoken_to(), lets_nobody_interrupt(), asks_the_silent(), answers_on_chat()
        )

    asyncio.run(all_at_once())


def test_what_is_not_known_is_logged_by_name(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """Unknown fields of a definition change nothing, and the log has their names without their values."""
    canary = "canary-of-a-field"
    call = place_call(
        livekit_server,
        {"assistant_from_tomorrow": canary, "assistant_interaction_config": {"tempo": canary}},
        agent_name=worker.agent_name,
        text_only=True,
    )

    async def talk() -> None:
        async with joined(call) as person:
            await greeted(person)

    asyncio.run(talk())
    (line,) = worker.lines("fields ignored", call.room_name)
    assert line["fields"] == ["assistant_from_tomorrow", "assistant_interaction_config.tempo"]
    assert canary not in worker.output()
