"""Sends notices to the person in the room."""

from __future__ import annotations

import asyncio
import time

import structlog
from livekit import rtc

from webcall.core import notices
from webcall.core.notices import Notice

_SENDING_S = 3.0
# The same notice is not repeated more often than this: it answers somebody who sends too much.
_QUIET_S = 2.0

log = structlog.stdlib.get_logger("webcall.worker.notice_sender")


class NoticeSender:
    """Sends notices into one room."""

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._sent_at: dict[Notice, float] = {}

    async def send_unless_repeated(self, notice: Notice) -> None:
        """Send the notice, unless it has been sent like this a moment ago."""
        now = time.monotonic()
        if now - self._sent_at.get(notice, -_QUIET_S) >= _QUIET_S:
            self._sent_at[notice] = now
            await self.send(notice)

    async def send(self, notice: Notice) -> None:
        """Send the notice; a failure is logged."""
        out = notices.sent(notice)
        try:
            sending = self._room.local_participant.send_text(
                out.text, topic=notices.TOPIC, attributes=dict(out.attributes)
            )
            await asyncio.wait_for(sending, _SENDING_S)
        except Exception as error:
            log.warning("notice not sent", notice=notice.name, error=type(error).__name__)
