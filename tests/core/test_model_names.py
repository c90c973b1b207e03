"""Which models a definition means, and what of its settings is passed on; nothing is made here."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from webcall.core import model_needs
from webcall.core.model_kinds import Kind, Provider
from webcall.core.model_names import Chosen, choose
from webcall.core.model_needs import is_installed, missing_keys, plugins_set_up
from webcall.core.model_table import DEEPGRAM, DEEPGRAM_FLUX, DEMO, INFERENCE, PROVIDERS

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS = {"llm": "demo", "stt": "demo", "tts": "demo", "realtime": "openai/gpt-realtime"}
CANARY = "sk-canary"


def chosen(mode: str = "pipeline", *, text_only: bool = False, allowed: Any = (), **fields: Any) -> Chosen:
    """Return the choice for a definition; `llm_model=…` stands for `assistant_llm_model`."""
    definition = {f"assistant_{name}": value for name, value in fields.items()}
    return choose(definition, mode=mode, text_only=text_only, defaults=DEFAULTS, allowed=allowed)


def told(found: Chosen) -> dict[str, str]:
    """Return kind and model of each part, as `kind provider model`."""
    return {
        choice.part: f"{choice.kind_name} {choice.provider.name} {choice.model}".strip()
        for choice in found.choices
    }


ROWS = [
    *(
        (row, kind)
        for row in (*PROVIDERS.values(), INFERENCE)
        if row is not DEMO
        for kind in row.kinds.values()
    ),
    (DEEPGRAM, DEEPGRAM_FLUX),
]


@pytest.mark.parametrize(("row", "kind"), ROWS, ids=lambda row: getattr(row, "name", "") or row.attribute)
def test_every_setting_is_an_argument_of_the_plugin(row: Provider, kind: Kind) -> None:
    """The installed plugin's constructor has each argument that the table names, and none leads elsewhere."""
    assert is_installed(row.package)
    made: Any = importlib.import_module(row.module)
    for name in kind.attribute.split("."):
        made = getattr(made, name)
    there = set(inspect.signature(made.__init__).parameters)
    options = set(kind.options)
    if row is INFERENCE and kind.attribute == "LLM":
        assert "extra_kwargs" in there
        # They go to the client as they are.
        openai = importlib.import_module("openai.resources.chat.completions")
        there |= set(inspect.signature(openai.AsyncCompletions.create).parameters)
    assert options | {kind.model_argument} | ({"api_key"} if kind.takes_key else set()) <= there
    assert {*kind.aliases.values()} <= options | {"model"}
    assert not {*kind.aliases} & options, "an alias would hide an option"
    leads_elsewhere = ("url", "http", "location", "project", "credential", "file", "client", "api", "extra")
    assert not [one for one in options for word in leads_elsewhere if word in one.split("_")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    {
        "nothing named": ({}, {"llm": "llm demo", "stt": "stt demo", "tts": "tts demo"}),
        "provider and model": (
            {
                "llm_model": "openai/gpt-4.1-mini",
                "stt_model": "deepgram/nova-2",
                "tts_model": "sarvam/bulbul:v2",
            },
            {"llm": "llm openai gpt-4.1-mini", "stt": "stt deepgram nova-2", "tts": "tts sarvam bulbul:v2"},
        ),
        "a provider alone": (
            {"llm_model": "Gemini", "stt_model": "elevenlabs", "tts_model": "cartesia"}
            | {"stt_config": {"model": "scribe_v1"}},
            {
                "llm": "llm google gemini-2.5-flash",
                "stt": "stt elevenlabs scribe_v1",
                "tts": "tts cartesia sonic-3",
            },
        ),
        "a provider in the config": (
            {"llm_config": {"provider": "openai", "model": "gpt-4o"}, "tts_config": {"provider": "mistral"}},
            {
                "llm": "llm openai gpt-4o",
                "stt": "stt demo",
                "tts": "tts mistral voxtral-mini-tts-latest",
            },
        ),
        "a model's plain name beside its provider": (
            {"llm_model": "gpt-4o", "llm_config": {"provider": "openai"}},
            {"llm": "llm openai gpt-4o", "stt": "stt demo", "tts": "tts demo"},
        ),
        "a model in the config alone": (
            {"llm_config": {"model": "gpt-4.1-nano"}},
            {"llm": "llm openai gpt-4.1-nano", "stt": "stt demo", "tts": "tts demo"},
        ),
        "another vendor": (
            {"llm_model": "xai/grok-4", "stt_model": "assemblyai/universal-streaming"},
            {
                "llm": "llm LiveKit Inference xai/grok-4",
                "stt": "stt LiveKit Inference assemblyai/universal-streaming",
                "tts": "tts demo",
            },
        ),
        "a realtime model in a pipeline hears by itself and answers in text": (
            {"llm_config": {"provider": "openai", "model": "gpt-realtime-1.5"}, "stt_model": "native"},
            {"llm": "realtime openai gpt-realtime-1.5", "tts": "tts demo"},
        ),
        "native ears without a realtime model": (
            {"llm_model": "openai/gpt-4.1", "stt_model": "native"},
            {"llm": "llm openai gpt-4.1", "stt": "stt demo", "tts": "tts demo"},
        ),
        "a voice that is a model": (
            {"tts_model": "deepgram", "tts_config": {"voice": "aura-2-thalia-en"}},
            {"llm": "llm demo", "stt": "stt demo", "tts": "tts deepgram aura-2-thalia-en"},
        ),
    }.values(),
)
def test_what_a_pipeline_means(fields: dict[str, Any], expected: dict[str, str]) -> None:
    """Names as documented, and as existing records have them, mean these models."""
    found = chosen(**fields)
    assert told(found) == expected
    assert found.faults == ()


def test_the_modes() -> None:
    """Realtime is one model, a typed chat has no ears and no voice, and only a pipeline takes both forms."""
    assert told(chosen("realtime")) == {"llm": "realtime openai gpt-realtime"}
    live = {"llm_config": {"provider": "gemini", "voice": "Puck"}}
    assert told(chosen("realtime", **live)) == {
        "llm": "realtime google gemini-2.5-flash-native-audio-preview-12-2025"
    }
    assert not chosen("realtime", **live).choices[0].text_only
    assert chosen(llm_model="openai/gpt-realtime").choices[0].text_only
    assert told(chosen(text_only=True, llm_model="openai")) == {"llm": "llm openai gpt-4.1"}
    assert chosen("cascade", llm_model="openai/gpt-realtime").faults == (
        "assistant_llm_model: a realtime model, which mode cascade cannot use",
    )


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (
            {"llm_model": "gpt-oddity"},
            "assistant_llm_model: neither provider/model nor a known provider's name",
        ),
        ({"llm_model": "elevenlabs"}, "assistant_llm_model: elevenlabs has no language model"),
        (
            {"tts_model": "openai/../../v1/files?x"},
            "assistant_tts_model: holds characters that no model's name has",
        ),
        (
            {"llm_model": "openai", "llm_config": {"temperature": CANARY}},
            "assistant_llm_config.temperature: not a number",
        ),
        (
            {"llm_model": "openai", "llm_config": {"temperature": True}},
            "assistant_llm_config.temperature: not a number",
        ),
        (
            {"tts_model": "elevenlabs", "tts_config": {"voice_id": f"../{CANARY}"}},
            "assistant_tts_config.voice_id: not a plain name",
        ),
        (
            {"tts_model": "elevenlabs", "tts_config": {"voice_settings": {"stability": CANARY}}},
            "assistant_tts_config.voice_settings: not an object of stability, similarity_boost, style, speed"
            " (numbers) and use_speaker_boost (true or false)",
        ),
        (
            {"stt_model": "deepgram", "stt_config": {"keyterm": [CANARY, 5]}},
            "assistant_stt_config.keyterm: not a plain name or a list of them",
        ),
    ],
)
def test_what_cannot_be_run(fields: dict[str, Any], fault: str) -> None:
    """What is wrong is told by the field's name and without its value."""
    assert chosen(**fields).faults == (fault,)


def test_settings_arrive_under_the_plugins_own_names() -> None:
    """Names of existing records become the constructor's; its own name wins; empty means not given."""
    found = chosen(
        stt_model="deepgram/flux-general-en",
        stt_config={"language": "en", "eot_threshold": None},
        tts_model="sarvam",
        tts_config={
            "speaker": "anushka",
            "voice_id": "other",
            "language": "hi-IN",
            "pace": "",
            "sample_rate": 8000.0,
        },
    )
    stt, tts = found.choices[1:]
    assert (stt.kind, stt.options) == (DEEPGRAM_FLUX, {"language_hint": ["en"]})
    assert tts.options == {"speaker": "anushka", "target_language_code": "hi-IN", "speech_sample_rate": 8000}
    assert found.faults == found.dropped == ()


def test_an_address_or_a_key_needs_leave() -> None:
    """Keys and addresses in a definition are dropped by name unless allowed, and other addresses always."""
    config = {
        "api_key": CANARY,
        "base_url": "http://10.0.0.1/v1",
        "http_options": {},
        "ws_url": "ws://10.0.0.1",
    }
    fields: dict[str, Any] = {"llm_model": "openai", "llm_config": config}
    found = chosen(**fields)
    assert (found.choices[0].api_key, found.choices[0].base_url) == ("", "")
    assert set(found.dropped) == {f"assistant_llm_config.{name}" for name in config}
    assert CANARY not in repr(found)

    found = chosen(allowed=("api_key", "base_url"), **fields)
    assert (found.choices[0].api_key, found.choices[0].base_url) == (CANARY, "http://10.0.0.1/v1")
    assert set(found.dropped) == {"assistant_llm_config.http_options", "assistant_llm_config.ws_url"}
    assert CANARY not in repr(found)

    # Only OpenAI's plugin is led elsewhere, only by a web address, and placeholders are no keys.
    assert chosen(allowed=("base_url",), tts_model="cartesia", tts_config=config).choices[2].base_url == ""
    found = chosen(allowed=("base_url",), llm_model="openai", llm_config={"base_url": "file:///etc/passwd"})
    assert found.faults == ("assistant_llm_config.base_url: not usable",)
    found = chosen(llm_model="openai", llm_config={"api_key": "system"})
    assert found.dropped == ()


def test_a_name_that_may_be_a_secret_is_not_told() -> None:
    """A setting whose name is no plain name is passed over without being named."""
    found = chosen(llm_model="openai", llm_config={f"{CANARY} as a name": 1})
    assert found.dropped == ("assistant_llm_config.…",)


@pytest.mark.parametrize(
    ("model", "environ", "missing"),
    [
        ("openai", {"OPENAI_API_KEY": " "}, ("OPENAI_API_KEY",)),
        ("openai", {"OPENAI_API_KEY": "x"}, ()),
        (
            "google",
            {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_API_KEY": "x"},
            ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"),
        ),
        ("xai/grok-4", {"LIVEKIT_INFERENCE_API_KEY": "x", "LIVEKIT_INFERENCE_API_SECRET": "x"}, ()),
        (
            "xai/grok-4",
            {"LIVEKIT_URL": "wss://a.livekit.cloud", "LIVEKIT_API_KEY": "x", "LIVEKIT_API_SECRET": "x"},
            (),
        ),
        (
            "xai/grok-4",
            {
                "LIVEKIT_URL": "wss://livekit.cloud.example.com",
                "LIVEKIT_API_KEY": "x",
                "LIVEKIT_API_SECRET": "x",
            },
            ("LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_INFERENCE_API_SECRET"),
        ),
    ],
)
def test_keys_that_are_missing(model: str, environ: dict[str, str], missing: tuple[str, ...]) -> None:
    """The variables that a model needs are named; the key of an own LiveKit server is none for the cloud."""
    assert missing_keys(chosen(llm_model=model).choices[0], environ) == missing


def test_the_page_says_what_the_table_says() -> None:
    """docs/models.md has each provider's extra, keys, defaults, settings and aliases, in its own section."""
    page = (ROOT / "docs" / "models.md").read_text("utf-8")
    sections = {part.partition("\n")[0]: part for part in page.split("\n### ")[1:]}
    assert set(sections) == {*PROVIDERS, INFERENCE.name} - {DEMO.name}
    for row, kind in ROWS:
        section = sections[row.name].partition("\n## ")[0]
        model = "" if kind is DEEPGRAM_FLUX else kind.model
        for word in filter(None, (row.extra, *kind.keys, model, *kind.options, *kind.aliases)):
            assert f"`{word}`" in section, f"{row.name}: {word}"
        words = {*kind.options, *kind.aliases, *kind.aliases.values()}
        told = [{*re.findall(r"`([\w.:-]+)`", line)} for line in section.splitlines() if line[:2] == "| "]
        assert words in [one - {kind.model} for one in told], f"{row.name}: {kind.attribute}"


@pytest.mark.parametrize(
    ("environ", "base_url", "modules"),
    [
        ({}, "", []),
        ({"OPENAI_API_KEY": " "}, "", []),
        ({"OPENAI_API_KEY": "sk", "ELEVEN_API_KEY": "sk"}, "", ["openai", "elevenlabs"]),
        ({}, "http://127.0.0.1:9/v1", ["openai"]),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/a/file"}, "", ["google"]),
    ],
)
def test_plugins_that_the_environment_has_keys_for(
    environ: dict[str, str], base_url: str, modules: list[str]
) -> None:
    """The worker imports ahead of calls what it has keys for, and nothing else."""
    found = plugins_set_up(environ, openai_base_url=base_url)
    assert found == [f"livekit.plugins.{name}" for name in modules]


def test_a_plugin_that_is_not_installed_is_not_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without its plugin is no reason to import it."""
    monkeypatch.setattr(model_needs, "is_installed", lambda package: "openai" not in package)
    environ = {"OPENAI_API_KEY": "sk", "CARTESIA_API_KEY": "sk"}
    assert plugins_set_up(environ) == ["livekit.plugins.cartesia"]
