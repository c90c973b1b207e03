"""What a model needs of the machine that runs it: a package, and keys in the environment.

The worker refuses a model for lack of them; the service's checks warn, since the worker may run elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

from webcall.config.settings import WorkerConfig
from webcall.core.model_names import Choice, Chosen, choose
from webcall.core.model_table import GOOGLE, INFERENCE, PROVIDERS

_VERTEX = "GOOGLE_GENAI_USE_VERTEXAI"
_INFERENCE = ("LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_INFERENCE_API_SECRET")
_LIVEKIT = ("LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")


@lru_cache
def is_installed(package: str) -> bool:
    """Tell whether a package is installed here; an empty name means that none is needed."""
    try:
        return not package or bool(metadata.distribution(package))
    except metadata.PackageNotFoundError:
        return False


def install_hint(choice: Choice) -> str:
    """Return the command that installs a model's plugin, to be run in the checkout."""
    # By path: the package is in no registry, where anybody may take its name.
    return f".venv/bin/pip install '.[{choice.provider.extra}]'"


def missing_keys(choice: Choice, environ: Mapping[str, str], *, openai_base_url: str = "") -> tuple[str, ...]:
    """Return the environment variables that a model needs and the environment lacks.

    A server in OpenAI's place may need no key, so none is missing where there is one.
    """
    if choice.api_key or (choice.provider.takes_base_url and (openai_base_url or choice.base_url)):
        return ()
    if choice.provider is INFERENCE:
        return () if _inference_is_set_up(environ) else _INFERENCE
    needed = choice.kind.keys
    if choice.provider is GOOGLE and on_vertex(environ) and choice.kind.takes_key:
        needed = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT")
    return _unset(needed, environ)


def plugins_set_up(environ: Mapping[str, str], *, openai_base_url: str = "") -> list[str]:
    """Return the modules of the installed plugins that the environment has a key for."""
    found = []
    for provider in PROVIDERS.values():
        keys = [kind.keys for kind in provider.kinds.values() if kind.keys]
        known = any(not _unset(needed, environ) for needed in keys)
        if (known or (provider.takes_base_url and openai_base_url)) and is_installed(provider.package):
            found.append(provider.module)
    return found


def model_choices(
    definition: Mapping[str, Any], worker: WorkerConfig, *, mode: str, text_only: bool
) -> Chosen:
    """Return the models that a worker with these settings would run for a definition."""
    return choose(
        definition,
        mode=mode,
        text_only=text_only,
        defaults={"llm": worker.llm, "stt": worker.stt, "tts": worker.tts, "realtime": worker.realtime},
        allowed=worker.allow_in_definitions,
    )


def model_warnings(definition: Mapping[str, Any], worker: WorkerConfig | None) -> list[str]:
    """Return why a worker with these settings, on this machine, could not run a definition's models."""
    if worker is None:
        return []
    mode = definition.get("assistant_mode")
    chosen = model_choices(
        definition, worker, mode=mode if isinstance(mode, str) else "pipeline", text_only=False
    )
    warnings = [*chosen.faults]
    for choice in chosen.choices:
        if not is_installed(choice.provider.package):
            warnings.append(
                f"{choice.place} is not installed here: the worker needs `{install_hint(choice)}`"
            )
        missing = missing_keys(choice, os.environ, openai_base_url=worker.openai_base_url)
        if missing:
            warnings.append(f"{choice.place} has no {' and '.join(missing)} here: the worker needs it set")
    return warnings + [f"{place}: the worker passes over this" for place in chosen.dropped]


def default_warnings(worker: WorkerConfig) -> list[str]:
    """Return why a worker with these settings, on this machine, could not run the models that they name."""
    return [
        re.sub(r"^assistant_(llm|stt|tts)_model", r"worker.\1", told) for told in model_warnings({}, worker)
    ]


def on_vertex(environ: Mapping[str, str]) -> bool:
    """Tell whether Google's plugin calls Vertex AI, which takes no API key."""
    return environ.get(_VERTEX, "").lower() in ("1", "true")


def _unset(names: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(name for name in names if not environ.get(name, "").strip())


def _inference_is_set_up(environ: Mapping[str, str]) -> bool:
    """Tell whether LiveKit Inference is meant to be used from here.

    livekit-agents takes any LIVEKIT_API_KEY for it, and would send conversations to LiveKit's cloud
    with the key of the operator's own server (livekit/agents/inference/_utils.py).
    """
    if not _unset(_INFERENCE, environ):
        return True
    host = urlsplit(environ.get("LIVEKIT_URL", "")).hostname or ""
    meant = bool(environ.get("LIVEKIT_INFERENCE_URL")) or host.endswith(".livekit.cloud")
    return meant and not _unset(_LIVEKIT, environ)
