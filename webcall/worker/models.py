"""Makes the models that an assistant names: livekit-agents' own plugins, each imported when used.

Nothing of a definition reaches a constructor but the settings of webcall/core/model_table.py.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import structlog
from livekit.agents import inference, llm, stt, tts

from webcall.config.settings import WorkerConfig
from webcall.core.model_names import Choice, Chosen
from webcall.core.model_needs import install_hint, missing_keys, model_choices, on_vertex, plugins_set_up
from webcall.core.model_table import DEMO, ELEVENLABS, GOOGLE, INFERENCE, MISTRAL, OPENAI
from webcall.errors import WebCallError
from webcall.worker.job import CallJob

log = structlog.stdlib.get_logger("webcall.worker.models")

# What a server in OpenAI's place gets where it needs no key; the client sends no empty one.
_NO_KEY = "unused"

# What a call with OpenAI's models imports beside the plugin, which is an extra of its own.
OPENAI_CLIENT = "webcall.worker.openai_client"


class ModelUnavailable(WebCallError):
    """A model of the assistant cannot be used here. The text says why, and holds no value of a setting."""


@dataclass(frozen=True, slots=True)
class Models:
    """The models of one call. `stt` and `tts` are None where the call has no use for them.

    `llm` may be a realtime model, which hears by itself and, without a `tts`, speaks too.
    """

    llm: llm.LLM[Any] | llm.RealtimeModel
    stt: stt.STT[Any] | None
    tts: tts.TTS[Any] | None


def modules_ahead(settings: WorkerConfig) -> list[str]:
    """Return the modules of models that calls of this worker are likely to import."""
    plugins = plugins_set_up(os.environ, openai_base_url=settings.openai_base_url)
    return [*plugins, OPENAI_CLIENT] if OPENAI.module in plugins else plugins


def import_plugins(job: CallJob, settings: WorkerConfig) -> None:
    """Import the plugins that a call needs; for the main thread, which livekit-agents asks for.

    Raises `ModelUnavailable` as `make_models` does.
    """
    for choice in _chosen(job, settings).choices:
        _module(choice)


def make_models(job: CallJob, settings: WorkerConfig) -> Models:
    """Make the models of a call; settings of the definition that are passed over are logged by name.

    Raises `ModelUnavailable` for an unknown provider, a plugin that is not installed, a key that is not
    set, and a setting that cannot be used.
    """
    chosen = _chosen(job, settings)
    if chosen.dropped:
        log.warning("settings of the definition are not used", fields=list(chosen.dropped))
    hears = any(choice.part == "stt" for choice in chosen.choices)
    made = {choice.part: _made(choice, job, settings, hears=hears) for choice in chosen.choices}
    return Models(llm=made["llm"], stt=made.get("stt"), tts=made.get("tts"))


def _chosen(job: CallJob, settings: WorkerConfig) -> Chosen:
    if job.mode == "realtime" and job.text_only:
        raise ModelUnavailable("an assistant in mode realtime has no typed chat")
    chosen = model_choices(job.definition, settings, mode=job.mode, text_only=job.text_only)
    faults = list(chosen.faults)
    for choice in chosen.choices:
        missing = missing_keys(choice, os.environ, openai_base_url=settings.openai_base_url)
        if missing:
            faults.append(f"{choice.place} needs {' and '.join(missing)}")
    if faults:
        raise ModelUnavailable("; ".join(faults))
    return chosen


def _module(choice: Choice) -> ModuleType:
    try:
        return importlib.import_module(choice.provider.module)
    except ImportError as error:
        told = f"{choice.place} cannot be loaded"
        if choice.provider.extra:
            told += f": {install_hint(choice)}"
        raise ModelUnavailable(told) from error


def _made(choice: Choice, job: CallJob, settings: WorkerConfig, *, hears: bool) -> Any:
    module = _module(choice)
    arguments = _arguments(choice, job, settings, module)
    if choice.kind_name == "realtime" and hears:
        # Else the session would pass over what the speech-to-text of the call's own hears.
        arguments["input_audio_transcription"] = None
    make: Any = module
    for name in choice.kind.attribute.split("."):
        make = getattr(make, name)
    try:
        return make(**arguments)
    except Exception as error:
        # Its text may quote the settings.
        names = ", ".join(sorted(choice.options)) or "no settings"
        raise ModelUnavailable(
            f"{choice.place} refuses this model with {names} ({type(error).__name__})"
        ) from None


def _arguments(choice: Choice, job: CallJob, settings: WorkerConfig, module: ModuleType) -> dict[str, Any]:
    if choice.provider is DEMO:
        if choice.part != "llm":
            return {}
        return {
            "metadata": job.metadata,
            "assistant_name": job.assistant_name,
            "text_only": job.text_only,
        }
    options = dict(choice.options)
    if choice.provider is INFERENCE and choice.kind_name == "llm":
        options = {"extra_kwargs": options}
    if "voice_settings" in options and choice.provider is ELEVENLABS:
        options["voice_settings"] = module.VoiceSettings(**options["voice_settings"])
    if choice.provider is MISTRAL and choice.kind_name == "stt" and "realtime" in choice.model:
        # The plugin would look for a package of its own, although livekit-agents has one.
        options["vad"] = inference.VAD()
    if choice.text_only:
        options["modalities"] = ["TEXT"] if choice.provider is GOOGLE else ["text"]
        options.pop("voice", None)
    arguments = {choice.kind.model_argument: choice.model, **options}
    access = _access(choice, settings, os.environ)
    if choice.provider is OPENAI and choice.kind_name != "realtime":
        client = importlib.import_module(OPENAI_CLIENT)
        return arguments | {"client": client.patient_client(**access)}
    return arguments | access


def _access(choice: Choice, settings: WorkerConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """Return key and address. The operator's key never goes to an address that a definition brings."""
    if choice.base_url:
        return {"base_url": choice.base_url, "api_key": choice.api_key or _NO_KEY}
    access = {}
    if choice.provider is OPENAI and settings.openai_base_url:
        access["base_url"] = settings.openai_base_url
    key = choice.api_key
    if not key and choice.kind.keys and choice.kind.takes_key:
        key = environ.get(choice.kind.keys[0], "").strip()
    if choice.kind.takes_key and not (choice.provider is GOOGLE and on_vertex(environ)):
        access["api_key"] = key or _NO_KEY
    return access
