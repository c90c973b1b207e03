"""Calls whose assistants name models, and an environment in which those can be made without a network."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from webcall.config.settings import WorkerConfig
from webcall.config.worker_section import WorkerSection
from webcall.worker.job import CallJob, read_job
from webcall.worker.models import Models, make_models

KEY = "sk-canary-of-the-operator"
_WITH_A_KEY = ("OPENAI", "GOOGLE", "DEEPGRAM", "ELEVEN", "CARTESIA", "SARVAM", "MISTRAL", "LIVEKIT_INFERENCE")
_GOOGLE_ACCOUNT = {"type": "authorized_user", "client_id": "x", "client_secret": "x", "refresh_token": "x"}


def worker(**settings: Any) -> WorkerConfig:
    """Return the worker's settings: those of an empty config.yaml, but for these."""
    return replace(WorkerSection().load({}), **settings)


def metadata(mode: str = "pipeline", *, text_only: bool = False, **fields: Any) -> str:
    """Return a dispatch's metadata whose definition has such fields as `llm_model`."""
    definition = {"assistant_mode": mode} | {f"assistant_{name}": value for name, value in fields.items()}
    web_call = {"version": 1, "room_name": "x_1", "metadata": {}, "assistant": definition}
    return json.dumps({"text_only": text_only, "web_call": web_call})


def job(mode: str = "pipeline", *, text_only: bool = False, **fields: Any) -> CallJob:
    """Return the call of such a dispatch."""
    return read_job(metadata(mode, text_only=text_only, **fields))


def made(call: CallJob, settings: WorkerConfig) -> Models:
    """Make models as the worker does, within an event loop."""

    async def make() -> Models:
        return make_models(call, settings)

    return asyncio.run(make())


def kept(one: Any) -> Mapping[str, Any]:
    """Return what a plugin's object has kept of its arguments."""
    holder = getattr(one, "_opts", None) or getattr(one, "_config", None) or one
    return {name: getattr(holder, name) for name in dir(holder) if not name.startswith("__")}


def access(one: Any) -> tuple[str, str]:
    """Return address and key of an object that has an OpenAI client."""
    return str(one._client.base_url), one._client.api_key


@pytest.fixture
def provider_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set a dummy for each provider's key, and nothing else that plugins read."""
    for name in list(os.environ):
        if name.startswith(("OPENAI_", "GOOGLE_", "LIVEKIT_")) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    for name in _WITH_A_KEY:
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    monkeypatch.setenv("LIVEKIT_INFERENCE_API_SECRET", "s" * 32)
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps(_GOOGLE_ACCOUNT))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on whatever looks up a name or connects."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
