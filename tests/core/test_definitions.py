"""What the commands about assistants rest on, over stores in memory."""

from __future__ import annotations

from typing import Any

import pytest

from webcall.config.worker_section import WorkerSection
from webcall.core import definitions, model_needs
from webcall.errors import BackendError, WebCallError
from webcall.interfaces import Record

OWNER = "ada@example.com"


def definition(assistant_id: str, **fields: Any) -> dict[str, Any]:
    """Return a definition that can be stored."""
    return {"assistant_id": assistant_id, "assistant_created_by_email": OWNER} | fields


class ListedAssistants:
    """A read-only store in memory."""

    def __init__(self, *records: Record) -> None:
        self.records = {record["assistant_id"]: record for record in records}

    def list_assistants(self) -> list[Record]:
        return list(self.records.values())

    def find_assistant(self, assistant_id: str) -> Record | None:
        return self.records.get(assistant_id)


class MemoryAssistants(ListedAssistants):
    """A store in memory that can be written to."""

    def put_assistant(self, record: Record) -> None:
        self.records[record["assistant_id"]] = record

    def delete_assistant(self, assistant_id: str) -> bool:
        return self.records.pop(assistant_id, None) is not None


def test_a_store_that_is_made_by_writing_need_not_be_readable() -> None:
    """A store whose file is not there yet is asked who owns the id, cannot tell, and stores."""

    class NotThereYet(MemoryAssistants):
        def find_assistant(self, assistant_id: str) -> Record | None:
            raise BackendError("no such file")

    store = NotThereYet()
    stored = list(definitions.put_definitions([("a", store)], "a", [definition("x"), definition("y")]))
    assert stored == ["x", "y"] == list(store.records)


def test_what_faces_two_stores() -> None:
    """The store that calls ask first comes first, and the one that can be written to is named."""
    writable = MemoryAssistants(definition("x", note="second"))
    stores = [("a", ListedAssistants(definition("x", note="first"))), ("b", writable), ("c", object())]
    found = definitions.find_definitions(stores, "x")
    assert [(backend, record["note"]) for backend, record in found] == [("a", "first"), ("b", "second")]
    with pytest.raises(WebCallError, match=r"'a' is read-only.*; of those in use, b can be written to"):
        definitions.delete_definition(stores, "a", "x")
    definitions.delete_definition(stores, "b", "x")
    with pytest.raises(WebCallError, match="no such assistant any more"):
        definitions.delete_definition(stores, "b", "x")
    with pytest.raises(WebCallError, match=r"no store has an assistant y \(asked: a, b\)"):
        definitions.find_definitions(stores, "y")


WORKER = WorkerSection().load({})


@pytest.mark.parametrize("model", ["demo", "openai", "openai/gpt-4.1-mini", None])
def test_models_that_look_right(model: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """provider/model, a provider's name and no model at all are not warned of where the key is set."""
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    report = definitions.check_definition(
        definition(
            "x",
            assistant_prompt="Hello.",
            **{f"assistant_{part}_model": model for part in ("llm", "stt", "tts")},
        ),
        WORKER,
    )
    assert (report.faults, report.warnings) == ([], [])


def test_models_that_a_worker_here_could_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is warned of with what is missing and where, and can be stored; no value is quoted."""
    for name in ("ELEVEN_API_KEY", "LIVEKIT_URL", "LIVEKIT_INFERENCE_URL", "LIVEKIT_INFERENCE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(model_needs, "is_installed", lambda package: "elevenlabs" not in package)
    report = definitions.check_definition(
        definition(
            "x",
            assistant_prompt="Hello.",
            assistant_llm_model="opnai/gpt-4.1",
            assistant_stt_model="whisper",
            assistant_tts_model="elevenlabs",
            assistant_tts_config={"voice_id": "v", "api_key": "canary", "shoe_size": 43},
        ),
        WORKER,
    )
    assert report.faults == []
    assert "canary" not in str(report)
    assert report.warnings == [
        "assistant_stt_model: neither provider/model nor a known provider's name",
        "assistant_llm_model: opnai is none of openai, google, deepgram, elevenlabs, cartesia, sarvam,"
        " mistral, demo; LiveKit Inference has no LIVEKIT_INFERENCE_API_KEY and LIVEKIT_INFERENCE_API_SECRET"
        " here: the worker needs it set",
        "assistant_tts_model: elevenlabs is not installed here: the worker needs"
        " `.venv/bin/pip install '.[elevenlabs]'`",
        "assistant_tts_model: elevenlabs has no ELEVEN_API_KEY here: the worker needs it set",
        "assistant_tts_config.shoe_size: the worker passes over this",
        "assistant_tts_config.api_key: the worker passes over this",
    ]


def test_an_empty_prompt_is_a_warning() -> None:
    """A definition without a prompt can be called, and is warned of."""
    report = definitions.check_definition(definition("x", assistant_prompt=" \n"))
    assert report.faults == []
    assert report.warnings == ["assistant_prompt: empty; the model gets no instructions"]


def test_all_faults_are_told_at_once() -> None:
    """A definition with several faults tells of each."""
    broken = definition(" x", assistant_prompt="{{#a}}", assistant_mode="no", assistant_llm_config=[])
    assert [fault.split(":")[0] for fault in definitions.check_definition(broken).faults] == [
        "assistant_id",
        "assistant_mode",
        "assistant_prompt",
        "assistant_llm_config",
    ]
