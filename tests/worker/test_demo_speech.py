from __future__ import annotations

import asyncio
import io
import time
import wave
from collections.abc import AsyncIterator

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import tts as agents_tts

from webcall.worker.demo import DemoSTT, DemoTTS, espeak, hearing, tts
from webcall.worker.demo.topics import NOT_UNDERSTOOD

SENTENCES = [
    "what time is it",
    "what day is it today",
    "what can you do",
    "how does this work",
    "count from three to seven",
    "repeat after me hello world",
    "spell robert",
    "what is two plus three",
    "what is a token",
    "how do i use a real model",
    "can i type and speak at once",
    "tell me a joke",
    "thank you very much",
    "goodbye",
]
STRANGE = [
    "I would like to order two large pizzas",
    "Please explain quantum physics to me",
    "The weather is nice in Paris",
]


def frame(sentence: str, sample_rate: int = 24_000) -> rtc.AudioFrame:
    """Return a sentence as it comes from a room."""
    sound = tts.synthesize(sentence)
    whole = rtc.AudioFrame(sound, espeak.SAMPLE_RATE, 1, len(sound) // 2)
    resampler = rtc.AudioResampler(espeak.SAMPLE_RATE, sample_rate)
    return rtc.combine_audio_frames([*resampler.push(whole), *resampler.flush()])


async def heard(ears: DemoSTT, sound: rtc.AudioFrame) -> str:
    return (await ears.recognize(sound)).alternatives[0].text


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_ears_understand_the_voice(sentence: str) -> None:
    """A sentence of the rules, spoken by the demo's own voice, is heard word by word."""
    assert asyncio.run(heard(DemoSTT(), frame(sentence))) == sentence


@pytest.mark.parametrize("sentence", STRANGE)
def test_other_speech_is_not_taken_for_a_sentence(sentence: str) -> None:
    """Speech outside of the grammar is heard as such, not as the sentence that is nearest."""
    assert asyncio.run(heard(DemoSTT(), frame(sentence))) == NOT_UNDERSTOOD


def test_silence_around_the_words_changes_nothing() -> None:
    """A sentence is heard, and other speech refused, with the silence around it that a VAD leaves."""
    silence = np.zeros(hearing.SAMPLE_RATE, np.int16)
    for sentence, expected in (
        (SENTENCES[0], SENTENCES[0]),
        (SENTENCES[-1], SENTENCES[-1]),
        (STRANGE[0], NOT_UNDERSTOOD),
    ):
        sound = np.frombuffer(bytes(frame(sentence, hearing.SAMPLE_RATE).data), np.int16)
        assert hearing.hear(np.concatenate([silence, sound, silence])) == expected


@pytest.mark.parametrize("level", [0, 30, 3000])
def test_noise_is_no_speech(level: int) -> None:
    """Silence and noise, long or short, are no words at all."""
    noise = np.random.default_rng(1).normal(scale=level, size=2 * hearing.SAMPLE_RATE).astype(np.int16)
    assert hearing.hear(noise) == ""
    assert hearing.hear(noise[:2000]) == ""


def test_stereo_and_other_rates_are_heard_alike() -> None:
    """Sound of two channels at 48 kHz is heard as that of one at 16 kHz."""
    mono = frame("what time is it", 48_000)
    stereo = np.repeat(np.frombuffer(bytes(mono.data), np.int16), 2).tobytes()
    both = rtc.AudioFrame(stereo, 48_000, 2, mono.samples_per_channel)
    for sound in (both, frame("what time is it", 16_000)):
        assert asyncio.run(heard(DemoSTT(), sound)) == "what time is it"


def test_what_was_heard_before_changes_nothing() -> None:
    """The same sound is heard alike before and after other speech, by several calls at once."""

    async def many() -> list[str]:
        ears, ten = DemoSTT(), frame("count to ten")
        other = frame(STRANGE[0])
        return await asyncio.gather(*(heard(ears, sound) for sound in (ten, other, ten, ten)))

    first, _, *later = asyncio.run(many())
    assert [first, *later] == ["count to ten"] * 3


def test_sound_comes_before_the_sentence_is_done() -> None:
    """A text becomes sound in pieces, and as much of it as when it is made at once."""

    async def pieces() -> list[rtc.AudioFrame]:
        async with DemoTTS().synthesize("Hello, this is a test of the demo's voice.") as stream:
            return [piece.frame async for piece in stream]

    frames = asyncio.run(pieces())
    assert len(frames) > 10
    assert {(one.sample_rate, one.num_channels) for one in frames} == {(22_050, 1)}
    sound = b"".join(bytes(one.data) for one in frames)
    assert np.abs(np.frombuffer(sound, np.int16)).max() > 3000
    assert len(sound) == pytest.approx(
        len(tts.synthesize("Hello, this is a test of the demo's voice.")), rel=0.02
    )


def test_an_interrupted_voice_stops_soon() -> None:
    """Closing the stream of a long text frees the voice for the next one long before the text is done."""
    long = "This sentence goes on and on. " * 60
    taken = 0

    def take(_: bytes) -> bool:
        nonlocal taken
        taken += 1
        return taken < 3

    espeak.speak(long, take)
    assert taken == 3

    async def interrupted() -> float:
        voice = DemoTTS()
        stream = voice.synthesize(long)
        await anext(aiter(stream))
        await stream.aclose()
        begun = time.monotonic()
        async with voice.synthesize("Next.") as following:
            await anext(aiter(following))
        return time.monotonic() - begun

    assert asyncio.run(interrupted()) < 1


@pytest.mark.parametrize("text", ["…", "!!!", "<b>&amp;</b> [[x]]", "\0", "日本語", "a" * 5000, "\ud800"])
def test_any_text_can_be_spoken(text: str) -> None:
    """A text without a sound, or too long, or with odd characters is no failure."""

    async def spoken() -> float:
        async with DemoTTS().synthesize(text) as stream:
            return sum([piece.frame.duration async for piece in stream])

    assert asyncio.run(spoken()) > 0


def test_sentences_are_spoken_as_they_come() -> None:
    """Under the framework's adapter the first sentence sounds while the second is still being written."""

    async def talk() -> None:
        async with agents_tts.StreamAdapter(tts=DemoTTS()).stream() as stream:
            stream.push_text("This is the first sentence of it. And here the second one begins, which")

            async def first(
                events: AsyncIterator[agents_tts.SynthesizedAudio],
            ) -> agents_tts.SynthesizedAudio:
                return await anext(events)

            await asyncio.wait_for(first(aiter(stream)), 10)
            stream.push_text(" ends only now.")
            stream.end_input()
            assert sum([event.frame.duration async for event in stream]) > 2

    asyncio.run(talk())


def test_a_wav_holds_the_sentence_between_silences() -> None:
    """The WAV for a fake microphone has the sentence and the silence that was asked for."""
    with wave.open(io.BytesIO(tts.wav("what time is it", silence_s=0.5))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22_050, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert not samples[:11_025].any()
    assert not samples[-11_025:].any()
    # The voice is not the same twice, by a few samples.
    assert len(samples) == pytest.approx(22_050 + len(tts.synthesize("what time is it")) // 2, rel=0.02)
