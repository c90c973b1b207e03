"""The demo's ears as livekit-agents sees them: one utterance at a time, cut by the session's VAD."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents import APIConnectionError, LanguageCode, stt
from livekit.agents.types import NOT_GIVEN, APIConnectOptions, NotGivenOr
from livekit.agents.utils import AudioBuffer, shortuuid

from webcall.worker.demo import hearing


class DemoSTT(stt.STT[Any]):
    """Hears the sentences of `topics.RULES` in English; what is no such sentence is `NOT_UNDERSTOOD`."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    @property
    def model(self) -> str:
        """The model's name."""
        return "pocketsphinx"

    @property
    def provider(self) -> str:
        """The provider's name."""
        return "webcall"

    def prewarm(self) -> None:
        """Load the model; takes some 200 ms. A failure shows when it is to hear."""
        with contextlib.suppress(hearing.EarsUnavailable):
            hearing.prepare()

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        try:
            text = await asyncio.to_thread(lambda: hearing.hear(_samples(frame)))
        except hearing.EarsUnavailable as error:
            raise APIConnectionError(str(error), retryable=False) from error
        heard = stt.SpeechData(
            language=LanguageCode("en"), text=text, confidence=1.0 if text else 0.0, end_time=frame.duration
        )
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT, request_id=shortuuid("demo_"), alternatives=[heard]
        )


def _samples(frame: rtc.AudioFrame) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Return a frame as one channel of 16,000 Hz."""
    sound = np.frombuffer(bytes(frame.data), dtype=np.int16)
    if frame.num_channels > 1:
        sound = sound.reshape(-1, frame.num_channels).mean(axis=1).astype(np.int16)
    if frame.sample_rate == hearing.SAMPLE_RATE:
        return sound
    resampler = rtc.AudioResampler(
        frame.sample_rate, hearing.SAMPLE_RATE, quality=rtc.AudioResamplerQuality.HIGH
    )
    mono = rtc.AudioFrame(sound.tobytes(), frame.sample_rate, 1, len(sound))
    pieces = [*resampler.push(mono), *resampler.flush()]
    return np.frombuffer(b"".join(bytes(piece.data) for piece in pieces), dtype=np.int16)
