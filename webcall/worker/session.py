"""One assistant as livekit-agents' session: its models, turns, and how replies are asked for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any

from livekit.agents import (
    NOT_GIVEN,
    Agent,
    AgentSession,
    APIConnectOptions,
    ModelSettings,
    RunContext,
    StopResponse,
    function_tool,
    llm,
    vad,
)
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.agent_session import SessionConnectOptions
from livekit.agents.voice.room_io import RoomOptions, TextOutputOptions

from webcall.worker.demo.llm import DemoLLM
from webcall.worker.greeting import Greeting
from webcall.worker.job import CallJob
from webcall.worker.models import Models

# One repeat, soon: a person waits. A provider that hangs ends the call within ten seconds, with words
# instead of silence.
_CONNECT = APIConnectOptions(max_retry=1, retry_interval=0.5, timeout=4.5)
_ATTEMPTS = 5
_SPOKEN_WITHIN_S = 30.0
_DEFAULT_FAREWELL_WHEN = "Call this when the person clearly wants to end the call, after saying goodbye."


class Assistant(Agent):
    """The agent of one call. `end` is called when the assistant has decided to end the call."""

    def __init__(self, job: CallJob, models: Models, end: Callable[[], None]) -> None:
        self._end_call = end
        self._speaking: dict[str, asyncio.Event] = {}
        self._greeting: Greeting | None = None
        super().__init__(instructions=job.prompt, tools=self._own_tools(job, models))

    def prepare_greeting(self, job: CallJob, models: Models) -> bool:
        """Ask for the first words now, before the session is there, if the assistant begins.

        The reply that the session asks for then is made of them. Return whether anything was asked.
        """
        if not job.opening or not isinstance(models.llm, llm.LLM):
            return False
        self._greeting = Greeting(job, models.llm, llm.ToolContext(self.tools).flatten(), _CONNECT)
        return True

    async def drop_greeting(self) -> None:
        """Give up first words that nobody has asked for yet."""
        greeting, self._greeting = self._greeting, None
        if greeting is not None:
            await greeting.close()

    async def llm_node(
        self, chat_ctx: llm.ChatContext, tools: list[llm.Tool], model_settings: ModelSettings
    ) -> AsyncIterator[Any]:
        """Yield what the model answers, which may have been asked already."""
        greeting, self._greeting = self._greeting, None
        if greeting is not None and greeting.answers(chat_ctx, tools, model_settings):
            answer: AsyncGenerator[Any, None] = greeting.chunks()
        else:
            if greeting is not None:
                # A typed message came first, for instance.
                await greeting.close()
            answer = Agent.default.llm_node(self, chat_ctx, tools, model_settings)
        async with contextlib.aclosing(answer) as chunks:
            async for chunk in chunks:
                yield chunk

    def began(self, speech: SpeechHandle) -> asyncio.Event:
        """Return the event that is set with the first word of `speech`."""
        return self._speaking.setdefault(speech.id, asyncio.Event())

    def forget(self, speech: SpeechHandle) -> None:
        """Keep nothing of `speech` any more."""
        self._speaking.pop(speech.id, None)

    async def take_back(self, message: llm.ChatMessage) -> None:
        """Remove an unanswered message from the history: what is answered next must be its last one."""
        history = self.chat_ctx.copy()
        history.items = [item for item in history.items if item.id != message.id]
        await self.update_chat_ctx(history)

    async def transcription_node(
        self, text: AsyncIterable[Any], model_settings: ModelSettings
    ) -> AsyncIterator[Any]:
        """Pass the words on, and note that the current speech has begun."""
        async for part in Agent.default.transcription_node(self, text, model_settings):
            yield part
            # Asked for more: so the part before has gone out.
            current = self.session.current_speech
            if current is not None and current.id in self._speaking:
                self._speaking[current.id].set()

    def _own_tools(self, job: CallJob, models: Models) -> list[llm.Tool | llm.Toolset]:
        wanted = job.definition.get("assistant_end_call_enabled") is True
        if not (wanted or isinstance(models.llm, DemoLLM)):
            return []
        phrase = job.definition.get("assistant_end_call_trigger_phrase")
        when = _DEFAULT_FAREWELL_WHEN
        if wanted and isinstance(phrase, str) and phrase.strip():
            when = f"Only call this when the person clearly says: {phrase.strip()!r}."
        message = job.definition.get("assistant_end_call_agent_message") if wanted else None

        async def end_call(context: RunContext[None]) -> None:
            await context.wait_for_playout()
            await self._farewell(message)
            raise StopResponse

        return [function_tool(end_call, name="end_call", description=f"End the current call. {when}")]

    async def _farewell(self, message: Any) -> None:
        # In a task of its own: what it says waits for this tool to be done.
        async def say_and_end() -> None:
            try:
                if isinstance(message, str) and message.strip():
                    await say(self.session, message.strip())
            finally:
                # Whatever its last words came to: a call that was said goodbye to ends.
                self._end_call()

        self._ending = asyncio.create_task(say_and_end())


def make_session(job: CallJob, models: Models, ears: vad.VAD | None) -> AgentSession[None]:
    """Return the session, not started. `ears` finds speech in sound, where the model does not itself."""
    realtime = isinstance(models.llm, llm.RealtimeModel)
    return AgentSession(
        llm=models.llm,
        stt=NOT_GIVEN if models.stt is None else models.stt,
        tts=NOT_GIVEN if models.tts is None else models.tts,
        vad=None if realtime or job.text_only else ears,
        turn_handling={
            # Named, or a detector is looked for at LiveKit Inference, in the cloud.
            "turn_detection": "realtime_llm" if realtime else "manual" if job.text_only else "vad",
            "interruption": {"mode": "vad", "enabled": job.interaction.allow_interruptions},
        },
        # A browser cancels echoes itself.
        aec_warmup_duration=None if job.text_only else 0.5,
        user_away_timeout=None,
        session_close_transcript_timeout=0.2,
        conn_options=SessionConnectOptions(
            stt_conn_options=_CONNECT,
            llm_conn_options=_CONNECT,
            tts_conn_options=_CONNECT,
            max_unrecoverable_errors=0,
        ),
    )


def room_options(job: CallJob, identity: str) -> RoomOptions:
    """Return what goes between the session and the room: this person's sound, and no chat of its own."""
    return RoomOptions(
        text_input=False,  # webcall.worker.chat reads it, within bounds
        audio_input=not job.text_only,
        audio_output=not job.text_only,
        # Words need not wait for the voice: a reply can be read as it is made.
        text_output=TextOutputOptions(sync_transcription=False),
        participant_identity=identity,
        close_on_disconnect=False,
        delete_room_on_close=False,
    )


async def say(session: AgentSession[None], words: str) -> None:
    """Say exactly these words as the assistant, and wait until they are said.

    A realtime model without a voice of its own is asked to say them.
    """
    with contextlib.suppress(RuntimeError, TimeoutError):
        await asyncio.wait_for(interrupt(session), 2)
    try:
        speech = session.say(words, allow_interruptions=False)
    except RuntimeError:
        speech = session.generate_reply(
            instructions=f"Say exactly this and nothing else: {words}", allow_interruptions=False
        )
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(speech.wait_for_playout(), _SPOKEN_WITHIN_S)


async def interrupt(session: AgentSession[None]) -> None:
    """Stop what is being said, or wait for its end where the assistant may not be interrupted."""
    current = session.current_speech
    if current is None or current.allow_interruptions:
        await session.interrupt()
    else:
        await current.wait_for_playout()


async def answer(session: AgentSession[None], assistant: Assistant, text: str) -> None:
    """Answer a typed text; return when the answer has begun, so that the next may interrupt it.

    Speech that starts in between interrupts an answer, too: one that was not begun is asked for again,
    so that no message is lost.
    """
    for _ in range(_ATTEMPTS):
        await interrupt(session)
        message = llm.ChatMessage(role="user", content=[text])
        speech = session.generate_reply(user_input=message)
        began = assistant.began(speech)
        waits = [asyncio.create_task(began.wait()), asyncio.create_task(speech.wait_for_playout())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            assistant.forget(speech)
        if began.is_set() or not speech.interrupted:
            return
        await assistant.take_back(message)
