"""The assistant's first words, asked of the language model while the room is still being entered.

What the model is asked is what the session would ask a moment later, and the session makes its reply of the
answer: so history, tools, interruptions and errors are those of any reply.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from livekit.agents import APIConnectOptions, ModelSettings, llm
from livekit.agents.utils import is_given

from webcall.worker.job import CallJob


class Greeting:
    """One request to the model, under way. `tools` are those of the session's replies."""

    def __init__(
        self, job: CallJob, model: llm.LLM[Any], tools: Sequence[llm.Tool], options: APIConnectOptions
    ) -> None:
        self._model = model
        self._tools = list(tools)
        self._asked = _first_context(job)
        self._stream = model.chat(chat_ctx=self._asked, tools=self._tools, conn_options=options)

    def answers(
        self, context: llm.ChatContext, tools: Sequence[llm.Tool], settings: ModelSettings | None
    ) -> bool:
        """Return whether it is the answer to what the session asks now, word for word."""
        choice = settings is not None and is_given(settings.tool_choice)
        return not choice and list(tools) == self._tools and _words(context) == _words(self._asked)

    async def chunks(self) -> AsyncGenerator[llm.ChatChunk, None]:
        """Yield the answer as it comes. Raises what the model raises, once the session was told of it."""
        try:
            async for chunk in self._stream:
                yield chunk
        except Exception as error:
            # The stream told of it when it happened, perhaps before the session listened.
            self._model.emit(
                "error",
                llm.LLMError(timestamp=time.time(), label=self._model.label, error=error, recoverable=False),
            )
            raise
        finally:
            await self.close()

    async def close(self) -> None:
        """Give the request up, if it goes on; more than once is as good as once."""
        await self._stream.aclose()


def _first_context(job: CallJob) -> llm.ChatContext:
    """Return what livekit-agents asks for when a call begins with a reply to instructions."""
    context = llm.ChatContext.empty()
    # The breakpoint is livekit-agents' own: up to it, a provider may keep what it has read.
    context.add_message(role="system", content=[job.prompt, llm.CacheBreakpoint()])
    context.add_message(role="system", content=[job.opening])
    return context


def _words(context: llm.ChatContext) -> list[tuple[str, str]]:
    return [
        (item.role, item.text_content or "") if item.type == "message" else (item.type, "")
        for item in context.items
        if item.type != "agent_config_update"
    ]
