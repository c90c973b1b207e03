"""The demo's voice as livekit-agents sees it. The session cuts sentences and streams them one by one."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import wave
from typing import Any

from livekit.agents import APIConnectionError, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions
from livekit.agents.utils import shortuuid

from webcall.worker.demo import espeak

_FRAME_MS = 60
# The framework takes no sound at all for a failure, but "…" has none.
_PAUSE = bytes(2 * (espeak.SAMPLE_RATE // 20))


class DemoTTS(tts.TTS[Any]):
    """Speaks English by espeak-ng: 22,050 Hz, mono."""

    def __init__(self) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False), sample_rate=espeak.SAMPLE_RATE, num_channels=1
        )

    @property
    def model(self) -> str:
        """The model's name."""
        return "espeak-ng"

    @property
    def provider(self) -> str:
        """The provider's name."""
        return "webcall"

    def prewarm(self) -> None:
        """Load the voice; takes some 30 ms. A failure shows when it is to speak."""
        with contextlib.suppress(espeak.VoiceUnavailable):
            espeak.prepare()

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Return the sound of a text, as it is made."""
        return _DemoSpeech(tts=self, input_text=text, conn_options=conn_options)


class _DemoSpeech(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=shortuuid("demo_"),
            sample_rate=espeak.SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
            frame_size_ms=_FRAME_MS,
        )
        loop, stopped = asyncio.get_running_loop(), threading.Event()
        pieces: asyncio.Queue[bytes] = asyncio.Queue()

        def take(piece: bytes) -> bool:
            if not stopped.is_set():
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            return not stopped.is_set()

        def speak() -> None:
            if not stopped.is_set():
                espeak.speak(self.input_text, take)

        speaking = asyncio.create_task(asyncio.to_thread(speak))
        speaking.add_done_callback(lambda _: pieces.put_nowait(b""))
        try:
            while piece := await pieces.get():
                output_emitter.push(piece)
            await speaking
        except espeak.VoiceUnavailable as error:
            raise APIConnectionError(str(error), retryable=False) from error
        finally:
            stopped.set()
        if output_emitter.pushed_duration() == 0:
            output_emitter.push(_PAUSE)
        output_emitter.flush()


def synthesize(text: str) -> bytes:
    """Return a text as the demo speaks it: 16-bit samples, mono, `espeak.SAMPLE_RATE`. Blocks.

    Raises `espeak.VoiceUnavailable`.
    """
    pieces: list[bytes] = []

    def take(piece: bytes) -> bool:
        pieces.append(piece)
        return True

    espeak.speak(text, take)
    return b"".join(pieces)


def wav(text: str, *, silence_s: float = 0.0) -> bytes:
    """Return a text as a WAV file, with as much silence before and after it as asked for. Blocks."""
    silence = bytes(2 * round(silence_s * espeak.SAMPLE_RATE))
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(espeak.SAMPLE_RATE)
        out.writeframes(silence + synthesize(text) + silence)
    return file.getvalue()
