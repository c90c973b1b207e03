"""Keeps an assistant audible that is interrupted before anybody can hear it.

livekit-agents 1.8.9 holds the first sound until the person's side has subscribed to the track, and awaits one
future for that, as it is. A first reply that is interrupted meanwhile, by a typed message or a word, is
cancelled, and cancels the future with it: of all that the assistant says in the call, nothing is heard.
"""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.agents.voice.room_io._output import _ParticipantAudioOutput

_capture_frame = _ParticipantAudioOutput.capture_frame


def keep_audible() -> None:
    """Replace the method of livekit-agents, for this process; more than once is as good as once."""
    _ParticipantAudioOutput.capture_frame = _capture_when_subscribed  # type: ignore[method-assign]


async def _capture_when_subscribed(self: _ParticipantAudioOutput, frame: Any) -> None:
    await asyncio.shield(self._subscribed_fut)
    await _capture_frame(self, frame)
