"""Check and manage assistants' definitions. Functions; the commands are in `webcall.cli`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webcall.config.settings import WorkerConfig
from webcall.core.definition_fields import misspelt
from webcall.core.dispatch import FILLED_FIELDS, dispatch_metadata, filled_definition
from webcall.core.limits import MAX_ID_BYTES, MAX_ID_CHARACTERS, assistant_id_fits, check_metadata
from webcall.core.model_names import PARTS
from webcall.core.model_needs import model_warnings
from webcall.core.placeholders import check_template
from webcall.core.read_only import read_only
from webcall.errors import BackendError, InvalidMetadata, RecordError, TemplateError, WebCallError
from webcall.interfaces import Assistant, ListsAssistants, ManagesAssistants, Record
from webcall.records import assistant_from_record

MODES = ("pipeline", "realtime", "cascade")
_OWNER = "assistant_created_by_email"

Stores = Sequence[tuple[str, Any]]


@dataclass
class Report:
    """What is wrong with a definition: `faults` forbid storing it, `warnings` do not."""

    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_definition(record: Any, worker: WorkerConfig | None = None) -> Report:
    """Find all that would make a call with this definition fail, and what looks like a mistake.

    Models are judged by the settings that a worker here would have, and not where there are none.
    """
    report = Report()
    if isinstance(record, Mapping):
        found = misspelt(record)
        report.warnings += [f"{name}: unknown field; did you mean {meant}?" for name, meant in found]
    try:
        assistant = assistant_from_record(record)
    except RecordError as error:
        report.faults.append(str(error))
        return report
    _check_id(assistant.id, report)
    if assistant.mode not in MODES:
        report.faults.append(f"assistant_mode: not one of {', '.join(MODES)}")
    for name, text in zip(FILLED_FIELDS, (assistant.prompt, assistant.start_instruction), strict=True):
        try:
            check_template(text)
        except TemplateError as error:
            report.faults.append(f"{name}: {error}")
    _check_models(record, worker, report)
    if not report.faults:
        _check_dispatch(assistant, report)
    if not assistant.prompt.strip():
        report.warnings.append("assistant_prompt: empty; the model gets no instructions")
    return report


def check_definitions(records: Sequence[Any], worker: WorkerConfig | None = None) -> list[Report]:
    """Check definitions that are to be stored together: as each, and two of one id are a fault."""
    reports = []
    seen: set[object] = set()
    for record in records:
        report = check_definition(record, worker)
        name = record.get("assistant_id") if isinstance(record, Mapping) else None
        if isinstance(name, str):
            if name in seen:
                report.faults.append("assistant_id: stands twice")
            seen.add(name)
        reports.append(report)
    return reports


def _check_id(assistant_id: str, report: Report) -> None:
    if assistant_id != assistant_id.strip():
        report.faults.append("assistant_id: white space around it; requests are trimmed and cannot name it")
    if not assistant_id_fits(assistant_id):
        report.faults.append(
            f"assistant_id: longer than {MAX_ID_CHARACTERS} characters or {MAX_ID_BYTES} bytes"
        )
    if any("\ud800" <= character <= "\udfff" for character in assistant_id):
        report.faults.append("assistant_id: holds a lone surrogate; requests cannot name it")


def _check_models(record: Mapping[str, Any], worker: WorkerConfig | None, report: Report) -> None:
    for part in PARTS:
        model, config = record.get(f"assistant_{part}_model"), record.get(f"assistant_{part}_config")
        if model is not None and not isinstance(model, str):
            report.faults.append(f"assistant_{part}_model: not a string such as openai/gpt-4.1-mini")
        if config is not None and not isinstance(config, Mapping):
            report.faults.append(f"assistant_{part}_config: not an object with named fields")
    report.warnings += model_warnings(record, worker)


def _check_dispatch(assistant: Assistant, report: Report) -> None:
    """Make what a call without metadata would send, in every form that it can have."""
    for text_only in (False,) if assistant.mode == "realtime" else (False, True):
        try:
            dispatch_metadata(
                room="x" * (MAX_ID_BYTES + 9),
                definition=filled_definition(assistant, {}, text_only=text_only),
                metadata={},
                text_only=text_only,
                max_duration_s=0,
            )
        except (TemplateError, InvalidMetadata, RecordError) as error:
            report.faults.append(str(error))
            return


def put_definitions(stores: Stores, backend: str, records: Sequence[Record]) -> Iterator[str]:
    """Check all definitions and who owns their ids, then store them; yield each id when it is stored.

    Raises `WebCallError` with the faults before the first is stored; the store itself may still say
    no to a later one.
    """
    manager = manager_of(stores, backend)
    faults = [fault for report in check_definitions(records) for fault in report.faults]
    if not faults:
        faults += [
            f"{taken}: another owner has this id: choose another one" for taken in _taken(manager, records)
        ]
    if faults:
        raise WebCallError("; ".join(faults))
    for record in records:
        manager.put_assistant(record)
        yield record["assistant_id"]


def _taken(manager: ManagesAssistants, records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        try:
            there = manager.find_assistant(record["assistant_id"])
        except BackendError:
            return  # A file that is not there yet cannot be read, and storing makes it.
        if there is not None and there.get(_OWNER) != record[_OWNER]:
            yield record["assistant_id"]


def list_definitions(stores: Stores) -> Iterator[tuple[str, Record]]:
    """Yield (backend, record) of every store that can list its assistants."""
    for backend, store in stores:
        if isinstance(store, ListsAssistants):
            for record in store.list_assistants():
                yield backend, record


def find_definitions(stores: Stores, assistant_id: str) -> list[tuple[str, Record]]:
    """Return (backend, record) of every store that has the id, in the order in which calls ask them.

    Raises `WebCallError` if none has.
    """
    asked = [(backend, store) for backend, store in stores if isinstance(store, ListsAssistants)]
    found = [(backend, store.find_assistant(assistant_id)) for backend, store in asked]
    there = [(backend, record) for backend, record in found if record is not None]
    if not there:
        names = ", ".join(name for name, _ in asked) or "none, since none can be listed"
        raise WebCallError(f"no store has an assistant {assistant_id} (asked: {names})")
    return there


def delete_definition(stores: Stores, backend: str, assistant_id: str) -> None:
    """Remove a definition. Raises `WebCallError` if its backend cannot, or has it no more."""
    if not manager_of(stores, backend).delete_assistant(assistant_id):
        raise WebCallError(f"the backend '{backend}' has no such assistant any more")


def render(stores: Stores, assistant_id: str, metadata: dict[str, Any], *, text_only: bool) -> dict[str, str]:
    """Return the texts of an assistant as a call with this metadata would fill them.

    Raises `WebCallError` as such a call would, and where no store has the assistant.
    """
    _, record = find_definitions(stores, assistant_id)[0]
    assistant = assistant_from_record(record)
    check_metadata(metadata)
    if text_only and assistant.mode == "realtime":
        raise WebCallError("this assistant speaks in real time and has no typed chat")
    filled = filled_definition(assistant, metadata, text_only=text_only)
    return {name: filled[name] for name in FILLED_FIELDS if filled.get(name)}


def manager_of(stores: Stores, backend: str) -> ManagesAssistants:
    """Return the backend's managing side; `WebCallError` that says which backends have one if not."""
    store = dict(stores)[backend]
    if isinstance(store, ManagesAssistants):
        return store
    able = [name for name, other in stores if isinstance(other, ManagesAssistants)]
    raise read_only(backend, "assistant", able)
