"""What a call needs before anybody can talk: made while the room is still being entered, where that is right.

Providers cost money, and many who ask for a token never come: so nothing is asked of one before LiveKit has
let the person into the room. That is often before this worker is in the room itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from livekit.agents import JobContext, llm

from webcall.config.settings import WorkerConfig
from webcall.worker.attendance import Attendance
from webcall.worker.job import CallJob, read_job
from webcall.worker.models import Models, import_plugins, make_models
from webcall.worker.session import Assistant


@dataclass(frozen=True, slots=True)
class Prepared:
    """The models of a call, and its assistant, which may have been asked for its first words."""

    models: Models
    assistant: Assistant


class Preparation:
    """Prepares one call, once. `end` is called when the assistant ends the call."""

    def __init__(
        self, context: JobContext, bounds: WorkerConfig, attendance: Attendance, end: Callable[[], None]
    ) -> None:
        self._context = context
        self._bounds = bounds
        self._attendance = attendance
        self._end = end
        self._prepared: Prepared | None = None
        self._early: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Prepare as soon as the person is let in, while this participant enters the room."""
        self._early = asyncio.create_task(self._prepare_early())

    async def finish(self, job: CallJob) -> Prepared:
        """Return what is prepared, or prepare it now: the person is there.

        Raises `ModelUnavailable` as `make_models` does.
        """
        await self._stop()
        if self._prepared is None:
            self._prepared = self._prepare(job)
        return self._prepared

    async def close(self) -> None:
        """Give up what nobody has used."""
        await self._stop()
        if self._prepared is not None:
            await self._prepared.assistant.drop_greeting()

    async def _prepare_early(self) -> None:
        # What fails here is done again, and told, when the person is to hear of it.
        with contextlib.suppress(Exception):
            job = read_job(self._context.job.metadata)
            import_plugins(job, self._bounds)
            me = self._context.local_participant_identity
            if await self._attendance.expected(self._context.api, me):
                self._prepared = self._prepare(job)

    def _prepare(self, job: CallJob) -> Prepared:
        models = make_models(job, self._bounds)
        assistant = Assistant(job, models, self._end)
        asked = assistant.prepare_greeting(job, models)
        _open_connections(models, asked=asked)
        return Prepared(models, assistant)

    async def _stop(self) -> None:
        if self._early is not None:
            self._early.cancel()
            await asyncio.wait([self._early])


def _open_connections(models: Models, *, asked: bool) -> None:
    """Open the connections that will be needed, once: the session, as it starts, would ask for each again.

    A language model that is `asked` for something has one.
    """
    if isinstance(models.llm, llm.LLM):
        if not asked:
            models.llm.prewarm()
        models.llm.prewarm = _nothing  # type: ignore[method-assign]
    if models.tts is not None:
        models.tts.prewarm()
        models.tts.prewarm = _nothing  # type: ignore[method-assign]


def _nothing(**_: Any) -> None:
    return
