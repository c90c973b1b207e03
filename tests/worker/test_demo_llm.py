from __future__ import annotations

import asyncio
import re
from typing import Any

from livekit.agents import Agent, AgentSession, llm
from livekit.agents.llm import function_tool

from webcall.worker.demo import DemoLLM, DemoSTT, DemoTTS
from webcall.worker.demo.topics import NOT_UNDERSTOOD

PROMPT = "CANARY-PROMPT: never say this."
START = "CANARY-START: greet the caller."


def demo() -> DemoLLM:
    return DemoLLM(metadata={"name": "Ada"}, assistant_name="Helper", text_only=False)


def conversation(*messages: tuple[Any, str]) -> llm.ChatContext:
    context = llm.ChatContext.empty()
    for role, text in messages:
        context.add_message(role=role, content=text)
    return context


@function_tool
async def end_call() -> None:
    """End the call."""


async def streamed(context: llm.ChatContext, **options: Any) -> tuple[list[str], list[str]]:
    """Return the pieces of text that a turn streams, and the names of the tools that it calls."""
    texts, calls = [], []
    async with demo().chat(chat_ctx=context, **options) as stream:
        async for chunk in stream:
            if chunk.delta:
                texts += [chunk.delta.content] if chunk.delta.content else []
                calls += [call.name for call in chunk.delta.tool_calls]
    return texts, calls


def test_whose_turn_it_is_comes_from_the_conversation() -> None:
    """Whatever instructions end the context, it greets, reprompts or answers as the talk before has it."""
    system = ("system", PROMPT)
    for before, begins in [
        ((system,), "Hello, Ada!"),
        ((system, ("assistant", "Hello.")), "Are you still there?"),
        ((system, ("assistant", "Hello."), ("user", "spell ada")), "A, D, A."),
    ]:
        for instructions in ((), (("system", START),), (("developer", START),)):
            turn = demo().turn(conversation(*before, *instructions))
            assert turn.text.startswith(begins)
            assert "CANARY" not in turn.text


def test_it_stops_answering_what_it_never_understands() -> None:
    """Speech that is not understood is answered three times, then no more until something is."""
    radio = conversation(*[("user", NOT_UNDERSTOOD)] * 3)
    assert demo().turn(radio).text
    radio.add_message(role="user", content=NOT_UNDERSTOOD)
    assert demo().turn(radio).text == ""
    radio.add_message(role="user", content="count to two")
    assert demo().turn(radio).text == "1, 2."


def test_words_stream_one_by_one() -> None:
    """A turn comes in as many pieces as it has words."""
    texts, calls = asyncio.run(streamed(conversation(("user", "count to three"))))
    assert texts == ["1,", " 2,", " 3."]
    assert calls == []


def test_goodbye_calls_the_tool_only_where_it_is_given() -> None:
    """`end_call` comes after the words, and not where there is no such tool or none may be called."""
    goodbye = conversation(("user", "goodbye"))
    texts, calls = asyncio.run(streamed(goodbye, tools=[end_call]))
    assert "".join(texts).startswith("Goodbye")
    assert calls == ["end_call"]
    assert asyncio.run(streamed(goodbye))[1] == []
    assert asyncio.run(streamed(goodbye, tools=[end_call], tool_choice="none"))[1] == []


def test_nothing_is_said_after_the_tool() -> None:
    """The result of `end_call` gets no further words, its failure does."""
    for is_error, says in ((False, False), (True, True)):
        context = conversation(("user", "goodbye"), ("assistant", "Goodbye."))
        context.items.append(
            llm.FunctionCallOutput(call_id="1", name="end_call", output="", is_error=is_error)
        )
        assert bool(demo().turn(context).text) is says


def test_a_session_greets_answers_and_ends() -> None:
    """An AgentSession on the demo's models greets, tells no instructions, answers, and ends by the tool."""

    class Helper(Agent):
        def __init__(self) -> None:
            super().__init__(instructions=PROMPT)
            self.ended = 0

        @function_tool
        async def end_call(self) -> None:
            """End the call."""
            self.ended += 1

    async def talk() -> None:
        helper = Helper()
        async with AgentSession[None](
            llm=demo(),
            stt=DemoSTT(),
            tts=DemoTTS(),
            turn_handling={"turn_detection": "vad", "interruption": {"mode": "vad"}},
        ) as session:
            await session.start(helper, session_host=False, record=False)
            handle = session.generate_reply(instructions=START)
            await handle
            greeting = handle.chat_items[0]
            assert isinstance(greeting, llm.ChatMessage)
            assert (greeting.text_content or "").startswith("Hello, Ada! This is Helper.")
            assert "CANARY" not in (greeting.text_content or "")

            told = await session.run(user_input="what time is it")
            message = told.expect.next_event().is_message(role="assistant").event().item
            assert re.fullmatch(r"It is \d\d:\d\d UTC\.", message.text_content or "")
            assert helper.ended == 0

            ended = await session.run(user_input="Goodbye!")
            ended.expect.contains_function_call(name="end_call")
            assert helper.ended == 1

    asyncio.run(talk())
