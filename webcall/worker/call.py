"""One call, from the job to its end, in the order one reads it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Coroutine
from typing import Any

import structlog
from livekit import rtc
from livekit.agents import AgentSession, AutoSubscribe, JobContext, vad
from livekit.agents.voice import CloseEvent, ConversationItemAddedEvent

from webcall.config.settings import WorkerConfig
from webcall.core.notices import Notice
from webcall.worker import ending, session
from webcall.worker.attendance import Attendance
from webcall.worker.chat import TOPIC as CHAT
from webcall.worker.chat import TypedMessages
from webcall.worker.ending import End
from webcall.worker.job import BadDispatch, CallJob, read_job
from webcall.worker.models import ModelUnavailable, import_plugins
from webcall.worker.notice_sender import NoticeSender
from webcall.worker.preparing import Preparation
from webcall.worker.silence import Reprompts

# LiveKit's own default, where a room says nothing (livekit-server `room.departure_timeout`).
_DEPARTURE_TIMEOUT_S = 20.0
_JOIN_WINDOW_S = 300.0
# Nothing tells whether a notice has arrived, and what is on its way is lost with the room.
_ARRIVING_S = 0.5
# Until the server's list of participants holds one that has come back as it came back.
_SETTLING_S = 1.0

log = structlog.stdlib.get_logger("webcall.worker.call")


class Call:
    """A call and what is running for it; `run` is the whole of it."""

    def __init__(self, context: JobContext, bounds: WorkerConfig, ears: vad.VAD | None) -> None:
        self._context = context
        self._bounds = bounds
        self._ears = ears
        self._room = context.room
        self._attendance = Attendance(context.room)
        self._preparation = Preparation(context, bounds, self._attendance, self._end_by_assistant)
        self._over: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._session: AgentSession[None] | None = None
        self._chat: TypedMessages | None = None
        self._reprompts: Reprompts | None = None
        self._away: asyncio.TimerHandle | None = None
        self._notices = NoticeSender(context.room)
        self._tasks: set[asyncio.Task[object]] = set()
        self._ended = asyncio.Event()

    async def join(self) -> None:
        """Enter the room. Raises what livekit-agents raises, a LiveKit that is away for instance."""
        self._preparation.begin()
        try:
            await self._context.connect(auto_subscribe=AutoSubscribe.AUDIO_ONLY)
        except BaseException:
            await self._preparation.close()
            raise

    async def run(self) -> None:
        """Take part in the room until the call is over, and leave nothing behind."""
        try:
            end = await self._take_part()
        except BadDispatch as error:
            log.error("bad dispatch", reason=str(error))
            end = await self._once_heard(End("bad dispatch", notice=Notice.bad_dispatch))
        except ModelUnavailable as error:
            log.error("model unavailable", reason=str(error))
            end = await self._once_heard(End("model unavailable", notice=Notice.model_unavailable))
        except Exception:
            log.exception("assistant failed")
            end = await self._once_heard(End("assistant failed", notice=Notice.assistant_failed))
        await self._finish(end)

    async def stop(self) -> None:
        """End the call because the worker stops, or the room is gone; return when it is over."""
        self._end(self._ended_from_outside())
        await self._ended.wait()

    async def _take_part(self) -> End:
        # Untold, it leaves: it has said nothing yet, and the other one may be in the middle of the call.
        if await self._attendance.earlier_assistant(self._context.api, untold=True):
            return ending.ANOTHER_IS_HERE
        job = read_job(self._context.job.metadata)
        structlog.contextvars.bind_contextvars(assistant=job.assistant_id)
        log.info("call begins", mode=job.mode, text_only=job.text_only, pid=os.getpid())
        if job.ignored:
            log.info("fields ignored", fields=job.ignored)
        self._attendance.hung_up = lambda: self._end(ending.HUNG_UP)
        self._attendance.dropped = self._wait_for_return
        self._attendance.returned = self._back
        self._attendance.joined_by_another = lambda: self._soon(self._leave_to_an_earlier_one())
        self._chat = TypedMessages(
            self._room,
            self._bounds,
            is_sender=self._attendance.may_be_human,
            tell=self._tell,
            answer=self._answer,
        )
        import_plugins(job, self._bounds)
        human = await self._human()
        if human is None:
            return self._over.result() if self._over.done() else End("nobody came", "nobody_came")
        await self._converse(job, human)
        return await self._until_over(job)

    async def _human(self) -> rtc.RemoteParticipant | None:
        """Return the human, or None if nobody came while the room waits, or the call is over already."""
        window_s = self._context.job.room.empty_timeout or _JOIN_WINDOW_S
        waiting = asyncio.create_task(self._attendance.wait_for_human(self._context.api, window_s))
        either: list[asyncio.Future[Any]] = [waiting, self._over]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            waiting.cancel()
            return None
        return waiting.result()

    async def _converse(self, job: CallJob, human: rtc.RemoteParticipant) -> None:
        """Start the session and greet."""
        prepared = await self._preparation.finish(job)
        talk = self._session = session.make_session(job, prepared.models, self._ears)
        self._assistant = prepared.assistant
        talk.on("close", self._session_closed)
        if job.interaction.reply_on_chat:
            talk.on("conversation_item_added", self._reply_on_chat)
        await talk.start(
            prepared.assistant,
            room=self._room,
            room_options=session.room_options(job, human.identity),
            # Any participant could ask it for the filled prompt and the whole history.
            session_host=False,
            record=False,
        )
        if job.interaction.silence_reprompts and not job.text_only:
            self._reprompts = Reprompts(talk, job.interaction)
        if job.opening:
            talk.generate_reply(
                instructions=job.opening,
                allow_interruptions=job.interaction.allow_interruptions,
            )
        if self._chat is not None:
            self._chat.begin()

    async def _until_over(self, job: CallJob) -> End:
        try:
            return await asyncio.wait_for(asyncio.shield(self._over), job.max_duration_s)
        except TimeoutError:
            return ending.TIME_IS_UP

    async def _once_heard(self, end: End) -> End:
        """Wait for the human who is to be told, as long as the room waits."""
        self._attendance.hung_up = lambda: self._end(ending.HUNG_UP)
        with contextlib.suppress(Exception):
            if await self._human() is None:
                return End(end.why, "nobody_came")
        return end

    async def _finish(self, end: End) -> None:
        log.info("call ends", why=end.why)
        self._stop_timers()
        await self._preparation.close()
        if end.last_sentence and self._session is not None:
            with contextlib.suppress(Exception):
                await session.say(self._session, end.last_sentence)
        if end.notice is not None and self._attendance.present:
            await self._notices.send(end.notice)
            await asyncio.sleep(_ARRIVING_S)
        if not end.keep_room:
            await ending.close_room(self._context, end.by)
        if self._chat is not None:
            await self._chat.close()
        for task in self._tasks:
            task.cancel()
        self._ended.set()
        self._context.shutdown(end.why)

    def _end(self, end: End) -> None:
        if not self._over.done():
            self._over.set_result(end)

    def _end_by_assistant(self) -> None:
        self._end(ending.ASSISTANT_ENDED_IT)

    def _session_closed(self, event: CloseEvent) -> None:
        if event.error is not None:
            log.error("provider failed", kind=event.error.type)
            self._end(End("provider failed", notice=Notice.provider_failed))
        else:
            # Nobody closes it here: livekit-agents does, when the process or the room goes.
            self._end(self._ended_from_outside())

    def _ended_from_outside(self) -> End:
        if not self._room.isconnected():
            return ending.ROOM_CLOSED
        # The worker stops; or LiveKit has closed the room, and its order came before the disconnection.
        return ending.STOPPED if self._attendance.human else ending.STOPPED_WAITING

    async def _leave_to_an_earlier_one(self) -> None:
        # When a LiveKit node dies, another one makes the room again and sends an assistant, and seconds later
        # the one that was there finds its way back: by the server's order, it came second.
        await asyncio.sleep(_SETTLING_S)
        if await self._attendance.earlier_assistant(self._context.api, untold=False):
            self._end(ending.ANOTHER_IS_HERE)

    def _wait_for_return(self) -> None:
        timeout_s = self._context.job.room.departure_timeout or _DEPARTURE_TIMEOUT_S
        log.info("connection lost", waits_s=timeout_s)
        self._stop_timers()
        self._away = asyncio.get_running_loop().call_later(timeout_s, lambda: self._soon(self._give_up()))

    async def _give_up(self) -> None:
        if not await self._attendance.is_back(self._context.api):
            self._end(ending.LOST)

    def _back(self) -> None:
        if self._away is not None:
            log.info("connection back")
            self._stop_timers()
            if self._reprompts is not None:
                self._reprompts.resume()

    def _stop_timers(self) -> None:
        if self._reprompts is not None:
            self._reprompts.stop()
        if self._away is not None:
            self._away.cancel()
            self._away = None

    async def _answer(self, text: str) -> None:
        if self._session is not None:
            await session.answer(self._session, self._assistant, text)

    def _reply_on_chat(self, event: ConversationItemAddedEvent) -> None:
        item = event.item
        text = getattr(item, "text_content", None)
        if getattr(item, "role", None) == "assistant" and text:
            self._soon(self._room.local_participant.send_text(text, topic=CHAT))

    def _tell(self, notice: Notice) -> None:
        self._soon(self._notices.send_unless_repeated(notice))

    def _soon(self, doing: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
