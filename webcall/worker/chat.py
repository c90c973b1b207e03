"""Typed messages: read from `lk.chat` within bounds, answered one after the other.

livekit-agents' own reader takes a message whole, whatever its size, and starts a task for each. Here
size, rate, number and open streams are bounded while a message is read, and whoever types is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from livekit import rtc

from webcall.config.settings import WorkerConfig
from webcall.core.notices import Notice

TOPIC = "lk.chat"
# Streams that are open at once, and how long one may take: a stream without an end holds memory.
MAX_OPEN = 4
MAX_READING_S = 10.0

log = structlog.stdlib.get_logger("webcall.worker.chat")


class TypedMessages:
    """Reads what one sender types in one room and hands it on in order.

    `is_sender` says of an identity whether it is the human of this call; `tell` sends a notice and
    returns at once; `answer` answers a text and returns when the next one may be handed to it.
    """

    def __init__(
        self,
        room: rtc.Room,
        bounds: WorkerConfig,
        *,
        is_sender: Callable[[str], bool],
        tell: Callable[[Notice], None],
        answer: Callable[[str], Awaitable[None]],
    ) -> None:
        self._room = room
        self._bounds = bounds
        self._is_sender = is_sender
        self._tell = tell
        self._answer = answer
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._rate = RateLimitItemPerMinute(bounds.chat_per_minute)
        self._taken = 0
        self._reading: set[asyncio.Task[None]] = set()
        self._read: asyncio.Queue[str] = asyncio.Queue()
        self._answering: asyncio.Task[None] | None = None
        room.register_text_stream_handler(TOPIC, self._on_stream)

    def begin(self) -> None:
        """Begin to answer; what was typed before is answered first."""
        self._answering = asyncio.create_task(self._answer_all())

    async def close(self) -> None:
        """Stop reading and answering."""
        self._room.unregister_text_stream_handler(TOPIC)
        tasks = [*self._reading, *([self._answering] if self._answering else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_stream(self, reader: rtc.TextStreamReader, identity: str) -> None:
        if not self._is_sender(identity):
            reader.close()
            return
        if (refused := self._refused(reader)) is not None:
            reader.close()
            self._tell(refused)
            return
        task = asyncio.create_task(self._take(reader))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    def _refused(self, reader: rtc.TextStreamReader) -> Notice | None:
        """Return why this message is not read at all, by what is known before its first byte."""
        if self._taken >= self._bounds.chat_max_turns:
            return Notice.turns_used_up
        if len(self._reading) >= MAX_OPEN or not self._limiter.hit(self._rate):
            return Notice.too_many_messages
        if (reader.info.size or 0) > self._bounds.chat_max_bytes:
            return Notice.message_too_long
        return None

    async def _take(self, reader: rtc.TextStreamReader) -> None:
        parts: list[str] = []
        size = 0
        try:
            async with asyncio.timeout(MAX_READING_S):
                async for part in reader:
                    size += len(part.encode())
                    if size > self._bounds.chat_max_bytes:
                        self._tell(Notice.message_too_long)
                        return
                    parts.append(part)
        except (TimeoutError, rtc.StreamError, ValueError):
            self._tell(Notice.message_unreadable)
            return
        finally:
            # One that is left half read would stay subscribed for the rest of the process.
            reader.close()
        text = "".join(parts).strip()
        if text:
            self._taken += 1
            self._read.put_nowait(text)

    async def _answer_all(self) -> None:
        while True:
            text = await self._read.get()
            try:
                await self._answer(text)
            except Exception:
                log.warning("typed message not answered", exc_info=True)
