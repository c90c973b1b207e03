"""Every row of the table of models, made offline: the plugin's own object, and what arrived in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from livekit.agents import inference
from livekit.plugins import cartesia, deepgram, elevenlabs, google, mistralai, openai, sarvam

from tests.support.model_jobs import job, kept, made, no_network, provider_keys, worker

__all__ = ["no_network", "provider_keys"]

pytestmark = pytest.mark.usefixtures("provider_keys", "no_network")

CHAT = {"temperature": 0.5}
ROWS: list[tuple[str, str, Mapping[str, Any], type, Mapping[str, Any]]] = [
    ("llm", "openai/gpt-4.1-mini", CHAT, openai.LLM, {"model": "gpt-4.1-mini", "temperature": 0.5}),
    (
        "stt",
        "openai",
        {"language": "de"},
        openai.STT,
        {"model": "gpt-4o-mini-transcribe", "languages": ["de"]},
    ),
    (
        "tts",
        "openai/tts-1",
        {"voice_id": "nova", "speed": 1.2},
        openai.TTS,
        {"model": "tts-1", "voice": "nova", "speed": 1.2},
    ),
    ("llm", "gemini/gemini-2.5-pro", CHAT, google.LLM, {"model": "gemini-2.5-pro", "temperature": 0.5}),
    (
        "stt",
        "google/chirp_2",
        {"language": "de-DE"},
        google.STT,
        {"model": "chirp_2", "languages": ["de-DE"]},
    ),
    (
        "tts",
        "google",
        {"voice": "Kore", "speed": 1.1},
        google.TTS,
        {"model_name": "gemini-2.5-flash-tts", "speaking_rate": 1.1},
    ),
    (
        "stt",
        "deepgram",
        {"language": "multi", "keyterm": "webcall"},
        deepgram.STT,
        {"model": "nova-3", "language": "multi", "keyterm": ["webcall"]},
    ),
    (
        "stt",
        "deepgram/flux-general-multi",
        {"language": "de"},
        deepgram.STTv2,
        {"model": "flux-general-multi", "language_hint": ["de"]},
    ),
    ("tts", "deepgram", {"voice": "aura-2-thalia-en"}, deepgram.TTS, {"model": "aura-2-thalia-en"}),
    (
        "stt",
        "elevenlabs",
        {"language": "de", "no_verbatim": True},
        elevenlabs.STT,
        {"model_id": "scribe_v2_realtime", "language_code": "de", "no_verbatim": True},
    ),
    (
        "tts",
        "elevenlabs",
        {"voice": "v1", "model": "eleven_v3", "voice_settings": {"speed": 1.1}},
        elevenlabs.TTS,
        {
            "model": "eleven_v3",
            "voice_id": "v1",
            "voice_settings": elevenlabs.VoiceSettings(0.5, 0.75, speed=1.1),
        },
    ),
    ("stt", "cartesia", {"language": "de"}, cartesia.STT, {"_model": "ink-whisper", "_language": "de"}),
    (
        "tts",
        "cartesia",
        {"voice_id": "v1", "language": "de", "emotion": "calm", "speed": 1},
        cartesia.TTS,
        {"model": "sonic-3", "voice": "v1", "language": "de", "emotion": ["calm"], "speed": 1},
    ),
    ("llm", "sarvam", CHAT, sarvam.LLM, {"model": "sarvam-105b", "temperature": 0.5}),
    (
        "stt",
        "sarvam/saaras:v3",
        {"language": "hi-IN", "mode": "codemix"},
        sarvam.STT,
        {"model": "saaras:v3", "language": "hi-IN", "mode": "codemix"},
    ),
    (
        "tts",
        "sarvam",
        {"speaker": "priya", "target_language_code": "hi-IN", "pace": 1.1},
        sarvam.TTS,
        {"model": "bulbul:v3", "speaker": "priya", "target_language_code": "hi-IN", "pace": 1.1},
    ),
    (
        "llm",
        "mistral/mistral-large-latest",
        CHAT,
        mistralai.LLM,
        {"model": "mistral-large-latest", "temperature": 0.5},
    ),
    ("stt", "mistral", {"language": "de"}, mistralai.STT, {"model": "voxtral-mini-latest", "language": "de"}),
    (
        "stt",
        "mistral/voxtral-mini-transcribe-realtime-2602",
        {},
        mistralai.STT,
        {"model": "voxtral-mini-transcribe-realtime-2602"},
    ),
    (
        "tts",
        "mistral",
        {"voice_id": "v1"},
        mistralai.TTS,
        {"model": "voxtral-mini-tts-latest", "voice": "v1"},
    ),
    ("llm", "xai/grok-4", CHAT, inference.LLM, {"model": "xai/grok-4", "extra_kwargs": CHAT}),
    (
        "stt",
        "assemblyai/universal-streaming",
        {"language": "en"},
        inference.STT,
        {"model": "assemblyai/universal-streaming", "language": "en"},
    ),
    ("tts", "rime/arcana", {"voice": "luna"}, inference.TTS, {"model": "rime/arcana", "voice": "luna"}),
]


@pytest.mark.parametrize(("part", "model", "config", "type_", "arrived"), ROWS)
def test_each_row_is_made_offline(
    part: str, model: str, config: Mapping[str, Any], type_: type, arrived: Mapping[str, Any]
) -> None:
    """The plugin's own object is made, with the model and the settings of the definition in it."""
    others = {f"{other}_model": "openai" for other in ("llm", "stt", "tts") if other != part}
    models = made(job(**{f"{part}_model": model, f"{part}_config": config}, **others), worker())
    one = getattr(models, part)
    assert type(one) is type_
    assert {name: kept(one)[name] for name in arrived} == dict(arrived)


def test_googles_voice() -> None:
    """Google's plugin holds voice and language in an object of its own: they arrive there."""
    config = {"voice": "Kore", "language_code": "de-DE"}
    models = made(
        job(llm_model="openai", stt_model="openai", tts_model="google", tts_config=config), worker()
    )
    voice = kept(models.tts)["voice"]
    assert (voice.name, voice.language_code, voice.model_name) == ("Kore", "de-DE", "gemini-2.5-flash-tts")
