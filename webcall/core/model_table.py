"""The table of the models' providers: what of a definition's settings each one takes.

One row per provider; docs/models.md says the same for people. The settings are arguments of the
constructors of livekit-agents' plugins (a test holds them to the installed ones). What carries an
address, a file or a credential is not among them: whoever writes a definition could reach with it what
only the worker reaches.
"""

from __future__ import annotations

from collections.abc import Mapping

from webcall.core.model_kinds import Kind, Provider, Value


def _takes(**names: str) -> dict[str, Value]:
    """Turn types with their settings' names into settings with their types."""
    return {name: kind for kind, listed in names.items() for name in listed.split()}  # type: ignore[misc]


_VOICE = {"voice_id": "voice", "voice_name": "voice", "speaker": "voice"}
_LANGUAGE = {"language_code": "language", "target_language_code": "language"}
_COMPLETION = {"max_tokens": "max_completion_tokens", "max_output_tokens": "max_completion_tokens"}
_OUTPUT = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
_PENALTIES = "temperature top_p presence_penalty frequency_penalty"

_OPENAI_KEY = ("OPENAI_API_KEY",)
_GOOGLE_KEY, _GOOGLE_CREDENTIALS = ("GOOGLE_API_KEY",), ("GOOGLE_APPLICATION_CREDENTIALS",)
_DEEPGRAM_KEY, _ELEVENLABS_KEY = ("DEEPGRAM_API_KEY",), ("ELEVEN_API_KEY",)
_CARTESIA_KEY, _SARVAM_KEY, _MISTRAL_KEY = ("CARTESIA_API_KEY",), ("SARVAM_API_KEY",), ("MISTRAL_API_KEY",)

OPENAI = Provider(
    name="openai",
    module="livekit.plugins.openai",
    package="livekit-plugins-openai",
    extra="openai",
    takes_base_url=True,
    realtime_models=("realtime",),
    kinds={
        "llm": Kind(
            "LLM",
            "gpt-4.1",
            _takes(
                number="temperature top_p",
                whole="max_completion_tokens",
                flag="parallel_tool_calls",
                name="reasoning_effort service_tier tool_choice verbosity",
            ),
            _COMPLETION,
            _OPENAI_KEY,
        ),
        "stt": Kind(
            "STT",
            "gpt-4o-mini-transcribe",
            _takes(names="language", flag="detect_language", text="prompt", number="temperature"),
            _LANGUAGE,
            _OPENAI_KEY,
        ),
        "tts": Kind(
            "TTS",
            "gpt-4o-mini-tts",
            _takes(name="voice response_format", number="speed", text="instructions"),
            _VOICE,
            _OPENAI_KEY,
        ),
        "realtime": Kind(
            "realtime.RealtimeModel",
            "gpt-realtime",
            _takes(name="voice", number="speed"),
            _VOICE,
            _OPENAI_KEY,
        ),
    },
)

GOOGLE = Provider(
    name="google",
    module="livekit.plugins.google",
    package="livekit-plugins-google",
    extra="google",
    realtime_models=("-live", "native-audio"),
    kinds={
        "llm": Kind(
            "LLM",
            "gemini-2.5-flash",
            _takes(number=f"{_PENALTIES} top_k", whole="max_output_tokens seed"),
            _OUTPUT,
            _GOOGLE_KEY,
        ),
        "stt": Kind(
            "STT",
            "latest_long",
            _takes(names="languages", flag="detect_language punctuate spoken_punctuation profanity_filter"),
            {"language": "languages", "language_code": "languages"},
            _GOOGLE_CREDENTIALS,
            takes_key=False,
        ),
        "tts": Kind(
            "TTS",
            "gemini-2.5-flash-tts",
            _takes(
                name="voice_name language gender",
                text="prompt",
                number="speaking_rate pitch volume_gain_db",
            ),
            {"voice": "voice_name", "voice_id": "voice_name", "speed": "speaking_rate"}
            | {"language_code": "language"},
            _GOOGLE_CREDENTIALS,
            model_argument="model_name",
            takes_key=False,
        ),
        "realtime": Kind(
            "realtime.RealtimeModel",
            "gemini-2.5-flash-native-audio-preview-12-2025",
            _takes(
                name="voice language",
                number=_PENALTIES,
                whole="max_output_tokens top_k",
                flag="enable_affective_dialog proactivity",
            ),
            _VOICE | _LANGUAGE | _OUTPUT,
            _GOOGLE_KEY,
        ),
    },
)

DEEPGRAM = Provider(
    name="deepgram",
    module="livekit.plugins.deepgram",
    package="livekit-plugins-deepgram",
    extra="deepgram",
    kinds={
        "stt": Kind(
            "STT",
            "nova-3",
            _takes(
                name="language",
                names="keyterm",
                whole="endpointing_ms",
                flag="detect_language punctuate smart_format numerals filler_words profanity_filter"
                " enable_diarization dictation mip_opt_out",
            ),
            {"language_code": "language", "keyterms": "keyterm"},
            _DEEPGRAM_KEY,
        ),
        # Deepgram's voices are models.
        "tts": Kind(
            "TTS",
            "aura-2-andromeda-en",
            _takes(number="speed", flag="mip_opt_out"),
            {"voice": "model", "voice_id": "model"},
            _DEEPGRAM_KEY,
        ),
    },
)

# Deepgram's models that tell turns apart (`flux-…`) are another class of the plugin.
DEEPGRAM_FLUX = Kind(
    "STTv2",
    "flux-general-en",
    _takes(
        names="language_hint keyterm",
        number="eot_threshold eager_eot_threshold",
        whole="eot_timeout_ms",
        flag="numerals profanity_filter mip_opt_out",
    ),
    {"language": "language_hint", "language_code": "language_hint", "keyterms": "keyterm"},
    _DEEPGRAM_KEY,
)

ELEVENLABS = Provider(
    name="elevenlabs",
    module="livekit.plugins.elevenlabs",
    package="livekit-plugins-elevenlabs",
    extra="elevenlabs",
    kinds={
        "stt": Kind(
            "STT",
            "scribe_v2_realtime",
            _takes(
                name="language_code", names="keyterms", flag="no_verbatim tag_audio_events enable_logging"
            ),
            {"language": "language_code", "model_id": "model", "keyterm": "keyterms"},
            _ELEVENLABS_KEY,
        ),
        "tts": Kind(
            "TTS",
            "eleven_turbo_v2_5",
            _takes(
                name="voice_id language apply_text_normalization",
                flag="enable_ssml_parsing enable_logging",
                voice_settings="voice_settings",
            ),
            {"voice": "voice_id", "language_code": "language", "model_id": "model"},
            _ELEVENLABS_KEY,
        ),
    },
)

CARTESIA = Provider(
    name="cartesia",
    module="livekit.plugins.cartesia",
    package="livekit-plugins-cartesia",
    extra="cartesia",
    kinds={
        "stt": Kind("STT", "ink-whisper", _takes(name="language", names="keyterm"), _LANGUAGE, _CARTESIA_KEY),
        "tts": Kind(
            "TTS",
            "sonic-3",
            _takes(
                name="voice language pronunciation_dict_id", pace="speed", names="emotion", number="volume"
            ),
            _VOICE | _LANGUAGE | {"model_id": "model"},
            _CARTESIA_KEY,
        ),
    },
)

SARVAM = Provider(
    name="sarvam",
    module="livekit.plugins.sarvam",
    package="livekit-plugins-sarvam",
    extra="sarvam",
    kinds={
        "llm": Kind(
            "LLM",
            "sarvam-105b",
            _takes(number=_PENALTIES, whole="max_tokens seed", name="reasoning_effort"),
            {"max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens"},
            _SARVAM_KEY,
        ),
        "stt": Kind(
            "STT",
            "saaras:v4",
            _takes(name="language mode", text="prompt", flag="high_vad_sensitivity"),
            _LANGUAGE,
            _SARVAM_KEY,
        ),
        "tts": Kind(
            "TTS",
            "bulbul:v3",
            _takes(
                name="speaker target_language_code dict_id",
                number="pace pitch loudness temperature",
                whole="speech_sample_rate",
                flag="enable_preprocessing",
            ),
            {"voice": "speaker", "voice_id": "speaker", "speed": "pace", "sample_rate": "speech_sample_rate"}
            | {"language": "target_language_code", "language_code": "target_language_code"},
            _SARVAM_KEY,
        ),
    },
)

MISTRAL = Provider(
    name="mistral",
    module="livekit.plugins.mistralai",
    package="livekit-plugins-mistralai",
    extra="mistral",
    kinds={
        "llm": Kind(
            "LLM",
            "ministral-8b-latest",
            _takes(number=_PENALTIES, whole="max_completion_tokens random_seed"),
            _COMPLETION | {"seed": "random_seed"},
            _MISTRAL_KEY,
        ),
        "stt": Kind(
            "STT",
            "voxtral-mini-latest",
            _takes(name="language", names="context_bias"),
            _LANGUAGE,
            _MISTRAL_KEY,
        ),
        "tts": Kind(
            "TTS", "voxtral-mini-tts-latest", _takes(name="voice response_format"), _VOICE, _MISTRAL_KEY
        ),
    },
)

DEMO = Provider(
    name="demo",
    module="webcall.worker.demo",
    kinds={
        "llm": Kind("DemoLLM", "", takes_key=False),
        "stt": Kind("DemoSTT", "", takes_key=False),
        "tts": Kind("DemoTTS", "", takes_key=False),
    },
)

# Every other vendor's models, by LiveKit's own cloud service.
INFERENCE = Provider(
    name="LiveKit Inference",
    module="livekit.agents.inference",
    kinds={
        "llm": Kind(
            "LLM",
            "",
            _takes(number=_PENALTIES, whole="max_completion_tokens", name="reasoning_effort"),
            _COMPLETION,
            takes_key=False,
        ),
        "stt": Kind("STT", "", _takes(name="language"), _LANGUAGE, takes_key=False),
        "tts": Kind("TTS", "", _takes(name="voice language"), _VOICE | _LANGUAGE, takes_key=False),
    },
)

PROVIDERS: Mapping[str, Provider] = {
    row.name: row for row in (OPENAI, GOOGLE, DEEPGRAM, ELEVENLABS, CARTESIA, SARVAM, MISTRAL, DEMO)
}
