"""The demo's mind as livekit-agents sees it: a language model that streams the words of the rules."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from livekit.agents import llm
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.agents.utils import shortuuid

from webcall.worker.demo import topics
from webcall.worker.demo.rules import Scene

END_CALL = "end_call"
WORD_S = 0.015

# After so many utterances in a row that were not understood the demo waits: it may be a radio.
_PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Turn:
    """What the demo does in one turn: the words, and whether it calls the tool `end_call` after them."""

    text: str
    ends: bool = False


class DemoLLM(llm.LLM[Any]):
    """Answers by rules; calls the function tool `end_call` after a goodbye, where it is given one.

    `metadata` are the caller's pairs, `text_only` says that the call has no sound.
    """

    def __init__(self, *, metadata: Mapping[str, Any], assistant_name: str, text_only: bool) -> None:
        super().__init__()
        self._metadata = metadata
        self._assistant_name = assistant_name
        self._text_only = text_only

    @property
    def model(self) -> str:
        """The model's name."""
        return "demo"

    @property
    def provider(self) -> str:
        """The provider's name."""
        return "webcall"

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
        parallel_tool_calls: NotGivenOr[bool] = NOT_GIVEN,
        tool_choice: NotGivenOr[llm.ToolChoice] = NOT_GIVEN,
        extra_kwargs: NotGivenOr[dict[str, Any]] = NOT_GIVEN,
    ) -> llm.LLMStream:
        """Return the stream of one turn; what the session's instructions say is neither followed nor told."""
        may_end = tool_choice != "none" and END_CALL in llm.ToolContext(tools or []).function_tools
        return _DemoStream(
            self,
            turn=self.turn(chat_ctx),
            may_end=may_end,
            chat_ctx=chat_ctx,
            tools=tools or [],
            conn_options=conn_options,
        )

    def turn(self, chat_ctx: llm.ChatContext) -> Turn:
        """Return what the demo says next.

        Instructions are messages of the role `system` or `developer`, the last one included where the
        session asks for a turn of its own (`generate_reply(instructions=…)`): so what comes before them
        tells whose turn it is. Nothing: the call begins. The person: they get an answer. The demo itself:
        the person is silent. A tool's result: everything has been said, unless it failed.
        """
        spoken: list[llm.ChatItem] = [
            item
            for item in chat_ctx.items
            if item.type == "function_call_output"
            or (item.type == "message" and item.role in ("user", "assistant"))
        ]
        messages = [item for item in spoken if item.type == "message"]
        scene = Scene(
            metadata=self._metadata,
            assistant_name=self._assistant_name,
            text_only=self._text_only,
            said=[item.text_content or "" for item in messages if item.role == "assistant"],
        )
        if not spoken:
            return Turn(topics.greet(scene))
        last = spoken[-1]
        if last.type == "function_call_output":
            return Turn("I could not end the call myself. Please hang up." if last.is_error else "")
        if last.type != "message" or last.role == "assistant":
            return Turn(topics.reprompt(scene))
        said = [item.text_content or "" for item in messages if item.role == "user"]
        if len(said) > _PATIENCE and set(said[-_PATIENCE - 1 :]) == {topics.NOT_UNDERSTOOD}:
            return Turn("")
        answer = topics.respond(said[-1], scene)
        return Turn(answer.text, answer.ends)


class _DemoStream(llm.LLMStream):
    def __init__(self, demo: DemoLLM, *, turn: Turn, may_end: bool, **given: Any) -> None:
        super().__init__(demo, **given)
        self._turn = turn
        self._may_end = may_end

    async def _run(self) -> None:
        request = shortuuid("demo_")
        for place, word in enumerate(re.findall(r"\s*\S+", self._turn.text)):
            if place:
                await asyncio.sleep(WORD_S)
            self._send(request, llm.ChoiceDelta(role="assistant", content=word))
        if self._turn.ends and self._may_end:
            call = llm.FunctionToolCall(name=END_CALL, arguments="{}", call_id=shortuuid("call_"))
            self._send(request, llm.ChoiceDelta(role="assistant", tool_calls=[call]))

    def _send(self, request: str, delta: llm.ChoiceDelta) -> None:
        self._event_ch.send_nowait(llm.ChatChunk(id=request, delta=delta))
