"""What a dispatch's metadata says of a call: the form that the contract calls `web_call`. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from webcall.core.definition_fields import KNOWN_FIELDS
from webcall.core.dispatch import VERSION
from webcall.errors import WebCallError
from webcall.worker.interaction import Interaction, read_interaction


class BadDispatch(WebCallError):
    """The job's metadata is not what the service sends. Its text quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class CallJob:
    """One call as the worker runs it; `max_duration_s` is None where the call may last for ever.

    `definition` is the assistant's record with its placeholders filled, `ignored` the names in it that
    the worker does not know.
    """

    room_name: str
    mode: str
    prompt: str = field(repr=False)
    start_instruction: str = field(repr=False)
    text_only: bool
    metadata: Mapping[str, Any] = field(repr=False)
    max_duration_s: float | None
    definition: Mapping[str, Any] = field(repr=False)
    interaction: Interaction
    ignored: tuple[str, ...]

    @property
    def assistant_id(self) -> str:
        """The id in the definition, for logs."""
        return str(self.definition.get("assistant_id", ""))

    @property
    def assistant_name(self) -> str:
        """What the assistant is called, or an empty string."""
        return _text(self.definition.get("assistant_name"))

    @property
    def opening(self) -> str:
        """The instruction for the assistant's first words; empty where the person begins."""
        return self.start_instruction if self.interaction.speaks_first else ""


def read_job(metadata: str) -> CallJob:
    """Return the call that a dispatch's metadata describes.

    Raises `BadDispatch` if the metadata is not JSON of the contract's form, version 1.
    """
    try:
        whole = json.loads(metadata)
    except (ValueError, RecursionError):
        raise BadDispatch("the dispatch's metadata is not JSON") from None
    web_call = whole.get("web_call") if isinstance(whole, Mapping) else None
    if not isinstance(web_call, Mapping):
        raise BadDispatch("the dispatch's metadata has no web_call: was it sent by this service?")
    if web_call.get("version") != VERSION:
        raise BadDispatch("the dispatch's web_call is of another version than this worker's")
    definition, caller = web_call.get("assistant"), web_call.get("metadata")
    if not isinstance(definition, Mapping) or not isinstance(caller, Mapping | None):
        raise BadDispatch("the dispatch's web_call has no assistant, or metadata that is no object")
    interaction, ignored = read_interaction(definition.get("assistant_interaction_config"))
    return CallJob(
        room_name=_text(web_call.get("room_name")),
        mode=_text(definition.get("assistant_mode")) or "pipeline",
        prompt=_text(definition.get("assistant_prompt")),
        start_instruction=_text(definition.get("assistant_start_instruction")),
        text_only=whole.get("text_only") is True,
        metadata=caller or {},
        max_duration_s=_duration(web_call.get("max_duration_s"), interaction),
        definition=definition,
        interaction=interaction,
        ignored=(*sorted(set(map(str, definition)) - KNOWN_FIELDS), *ignored),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _duration(limit: Any, interaction: Interaction) -> float | None:
    limits = [interaction.max_call_duration_minutes * 60] if interaction.max_call_duration_minutes else []
    if isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0:
        limits.append(limit)
    return min(limits) if limits else None
