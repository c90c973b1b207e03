"""Models of a call: whose key and address they get, what is refused, and what is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from livekit.plugins import cartesia, deepgram, google, openai

from tests.support.model_jobs import KEY, access, job, kept, made, metadata, no_network, provider_keys, worker
from webcall.worker.models import ModelUnavailable, import_plugins

__all__ = ["no_network", "provider_keys"]

pytestmark = pytest.mark.usefixtures("provider_keys", "no_network")

ROOT = Path(__file__).resolve().parents[2]
OWN = "sk-canary-of-the-definition"


def test_the_operators_keys_and_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's key goes to the operator's server, which may need none."""
    models = made(job(llm_model="openai", stt_model="openai", tts_model="cartesia"), worker())
    assert (access(models.llm), access(models.stt)) == (("https://api.openai.com/v1/", KEY),) * 2
    assert kept(models.tts)["api_key"] == KEY
    own_server = worker(openai_base_url="http://127.0.0.1:9/v1")
    models = made(job(llm_model="openai", stt_model="openai", tts_model="openai"), own_server)
    assert {access(one) for one in (models.llm, models.stt, models.tts)} == {("http://127.0.0.1:9/v1/", KEY)}
    monkeypatch.delenv("OPENAI_API_KEY")
    assert access(made(job(llm_model="openai", text_only=True), own_server).llm)[1] == "unused"


def test_a_definitions_own_key_and_address() -> None:
    """They are used with leave only, and an address of a definition never gets the operator's key."""
    config = {"api_key": OWN, "base_url": "http://10.0.0.1/v1"}

    def of(config: Mapping[str, str], *allowed: str) -> tuple[str, str]:
        call = job(llm_model="openai", llm_config=config, text_only=True)
        return access(made(call, worker(allow_in_definitions=allowed)).llm)

    assert of(config) == ("https://api.openai.com/v1/", KEY)
    assert of(config, "api_key") == ("https://api.openai.com/v1/", OWN)
    assert of(config, "base_url") == ("http://10.0.0.1/v1/", "unused")
    assert of(config, "api_key", "base_url") == ("http://10.0.0.1/v1/", OWN)
    assert of({"base_url": config["base_url"]}, "api_key", "base_url") == ("http://10.0.0.1/v1/", "unused")


def test_what_is_passed_over_is_logged_by_name(caplog: pytest.LogCaptureFixture) -> None:
    """One line names the settings that are not used, and nothing tells their values."""
    config = {"api_key": OWN, "base_url": f"http://{OWN}/", "shoe_size": OWN, "temperature": 0.5}
    with structlog.testing.capture_logs() as lines:
        models = made(job(llm_model="openai", llm_config=config, text_only=True), worker())
    assert kept(models.llm)["temperature"] == 0.5
    [line] = lines
    assert set(line["fields"]) == {f"assistant_llm_config.{name}" for name in config} - {
        "assistant_llm_config.temperature"
    }
    assert OWN not in str(lines) + caplog.text


def test_a_realtime_model_alone_and_in_a_pipeline() -> None:
    """Alone it speaks; in a pipeline it answers in text, and an own speech-to-text replaces its ears."""
    alone = made(job("realtime", llm_config={"provider": "openai", "voice": "cedar"}), worker())
    assert isinstance(alone.llm, openai.realtime.RealtimeModel)
    assert (alone.stt, alone.tts) == (None, None)
    assert alone.llm.capabilities.audio_output
    assert kept(alone.llm)["voice"] == "cedar"

    pipeline = made(job(llm_model="openai/gpt-realtime", tts_model="cartesia"), worker())
    assert isinstance(pipeline.llm, openai.realtime.RealtimeModel)
    assert not pipeline.llm.capabilities.audio_output
    assert pipeline.llm.capabilities.user_transcription
    assert pipeline.stt is None
    assert isinstance(pipeline.tts, cartesia.TTS)

    both = made(
        job(llm_model="google/gemini-2.0-flash-live-001", stt_model="deepgram", tts_model="cartesia"),
        worker(),
    )
    assert isinstance(both.llm, google.realtime.RealtimeModel)
    assert not both.llm.capabilities.audio_output
    assert not both.llm.capabilities.user_transcription
    assert isinstance(both.stt, deepgram.STT)


def test_a_typed_chat_has_neither_ears_nor_voice() -> None:
    """With text_only nothing but the language model is made, and mode realtime has no typed chat."""
    models = made(job(llm_model="openai", stt_model="nobody", tts_model="nobody", text_only=True), worker())
    assert isinstance(models.llm, openai.LLM)
    assert (models.stt, models.tts) == (None, None)
    with pytest.raises(ModelUnavailable, match="no typed chat"):
        made(job("realtime", text_only=True), worker())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"llm_model": "nobody"}, "assistant_llm_model: neither provider/model nor"),
        (
            {"tts_model": "elevenlabs", "tts_config": {"voice_id": 5}},
            "assistant_tts_config.voice_id: not a plain name",
        ),
        (
            {"tts_model": "sarvam", "tts_config": {"speaker": OWN}},
            "assistant_tts_model: sarvam refuses this model with speaker (ValueError)",
        ),
        ({"stt_model": "mistral"}, "assistant_stt_model: mistral needs MISTRAL_API_KEY"),
        ({"tts_model": "acme/voice"}, "acme is none of openai, google,"),
    ],
)
def test_what_cannot_be_made(fields: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told by the names of fields and variables, with no value and no text of the plugin's."""
    for name in ("MISTRAL_API_KEY", "LIVEKIT_INFERENCE_API_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ModelUnavailable) as raised:
        made(job(**{"llm_model": "openai", "stt_model": "openai", "tts_model": "openai"} | fields), worker())
    assert told in str(raised.value)
    assert OWN not in str(raised.value) + repr(raised.value.__cause__)
    assert KEY not in str(raised.value)


def test_a_plugin_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing for the call, and making its models, say which extra installs it."""
    monkeypatch.setitem(sys.modules, "livekit.plugins.cartesia", None)
    call = job(llm_model="openai", stt_model="openai", tts_model="cartesia")
    for step in (import_plugins, made):
        with pytest.raises(
            ModelUnavailable, match=r"cartesia cannot be loaded: \.venv/bin/pip install '\.\[cartesia\]'"
        ):
            step(call, worker())


def test_only_what_is_used_is_imported() -> None:
    """A worker imports no plugin, and a call the plugins of its own models alone."""
    call = metadata(llm_model="openai", stt_model="openai", tts_model="cartesia")
    code = (
        "import json, sys\n"
        "from webcall.config.worker_section import WorkerSection\n"
        "from webcall.worker.models import import_plugins\n"
        "from webcall.worker.job import read_job\n"
        "start = 'livekit.plugins.'\n"
        "loaded = lambda: sorted(m for m in sys.modules if m.startswith(start) and m.count('.') == 2)\n"
        "before = loaded()\n"
        f"import_plugins(read_job({call!r}), WorkerSection().load({{}}))\n"
        "print(json.dumps([before, loaded()]))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert json.loads(ended.stdout or "null") == [
        [],
        ["livekit.plugins.cartesia", "livekit.plugins.openai"],
    ], ended.stderr


def test_without_names_it_is_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A definition that names no model gets the worker's default: out of the box the offline demo."""
    for name in ("OPENAI_API_KEY", "LIVEKIT_INFERENCE_API_KEY"):
        monkeypatch.delenv(name)
    models = made(job(), worker())
    names = [type(one).__name__ for one in (models.llm, models.stt, models.tts)]
    assert names == ["DemoLLM", "DemoSTT", "DemoTTS"]
    models = made(job(), worker(tts="cartesia"))
    assert isinstance(models.tts, cartesia.TTS)
