"""Check and manage assistants' definitions. Functions; the commands are in `webcall.cli`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webcall.core.dispatch import filled_definition
from webcall.core.limits import MAX_ID_BYTES, MAX_ID_CHARACTERS, assistant_id_fits
from webcall.core.placeholders import check_template
from webcall.errors import InvalidMetadata, RecordError, TemplateError, WebCallError
from webcall.interfaces import ListsAssistants, ManagesAssistants, Record
from webcall.records import assistant_from_record

MODES = ("pipeline", "realtime", "cascade")
PROVIDERS = ("openai", "google", "deepgram", "elevenlabs", "cartesia", "sarvam", "mistral", "demo")
_PARTS = ("llm", "stt", "tts")

Stores = Sequence[tuple[str, Any]]


@dataclass
class Report:
    """What is wrong with a definition: `faults` forbid storing it, `warnings` do not."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_definition(record: Any) -> Report:
    """Find all that would make a call with this definition fail, and what looks like a mistake."""
    report = Report()
    try:
        assistant = assistant_from_record(record)
    except RecordError as error:
        report.faults.append(str(error))
        return report
    _check_id(assistant.id, report)
    if assistant.mode not in MODES:
        report.faults.append(f"assistant_mode: not one of {', '.join(MODES)}")
    for name, text in (
        ("assistant_prompt", assistant.prompt),
        ("assistant_start_instruction", assistant.start_instruction),
    ):
        try:
            check_template(text)
        except TemplateError as error:
            report.faults.append(f"{name}: {error}")
    if not report.faults:
        try:
            filled_definition(assistant, {}, text_only=False)
        except (TemplateError, InvalidMetadata) as error:
            report.faults.append(str(error))
    if not assistant.prompt.strip():
        report.warnings.append("assistant_prompt: empty; the model gets no instructions")
    _check_models(record, report)
    return report


def _check_id(assistant_id: str, report: Report) -> None:
    if assistant_id != assistant_id.strip():
        report.faults.append("assistant_id: white space around it; requests are trimmed and cannot name it")
    if not assistant_id_fits(assistant_id):
        report.faults.append(
            f"assistant_id: longer than {MAX_ID_CHARACTERS} characters or {MAX_ID_BYTES} bytes"
        )


def _check_models(record: Mapping[str, Any], report: Report) -> None:
    for part in _PARTS:
        model, config = record.get(f"assistant_{part}_model"), record.get(f"assistant_{part}_config")
        if model is not None and not isinstance(model, str):
            report.faults.append(f"assistant_{part}_model: not a string such as openai/gpt-4.1-mini")
        elif model and "/" not in model and model not in PROVIDERS:
            report.warnings.append(
                f"assistant_{part}_model: neither provider/model nor a known provider's name"
            )
        if config is not None and not isinstance(config, Mapping):
            report.faults.append(f"assistant_{part}_config: not an object with named fields")


def put_definition(stores: Stores, backend: str, record: Record) -> Report:
    """Check and store a definition. Raises `WebCallError` with its faults, or with the store's no."""
    report = check_definition(record)
    if report.faults:
        raise WebCallError("; ".join(report.faults))
    _manager(stores, backend).put_assistant(record)
    return report


def list_definitions(stores: Stores) -> Iterator[tuple[str, Record]]:
    """Yield (backend, record) of every store that can list its assistants."""
    for backend, store in stores:
        if isinstance(store, ListsAssistants):
            for record in store.list_assistants():
                yield backend, record


def find_definition(stores: Stores, assistant_id: str) -> tuple[str, Record]:
    """Return (backend, record) of the first store that has the id. Raises `WebCallError` if none has."""
    for backend, store in stores:
        if isinstance(store, ListsAssistants):
            record = store.find_assistant(assistant_id)
            if record is not None:
                return backend, record
    names = ", ".join(name for name, _ in stores)
    raise WebCallError(f"no store has an assistant {assistant_id} (asked: {names})")


def delete_definition(stores: Stores, backend: str, assistant_id: str) -> None:
    """Remove a definition. Raises `WebCallError` if its backend cannot."""
    _manager(stores, backend).delete_assistant(assistant_id)


def render(
    stores: Stores, assistant_id: str, metadata: Mapping[str, Any], *, text_only: bool
) -> dict[str, str]:
    """Return the texts of an assistant as a call with this metadata would fill them."""
    _, record = find_definition(stores, assistant_id)
    assistant = assistant_from_record(record)
    filled = filled_definition(assistant, metadata, text_only=text_only)
    return {
        name: filled[name] for name in ("assistant_prompt", "assistant_start_instruction") if filled.get(name)
    }


def _manager(stores: Stores, backend: str) -> ManagesAssistants:
    store = dict(stores)[backend]
    if not isinstance(store, ManagesAssistants):
        raise WebCallError(f"the backend '{backend}' is read-only: change the assistant where it is set")
    return store
