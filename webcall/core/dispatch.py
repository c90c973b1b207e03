"""What the assistant receives: the metadata of its dispatch, which only the agent can read. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from webcall.core.placeholders import Values, fill
from webcall.errors import RecordError, TemplateError
from webcall.interfaces import Assistant
from webcall.json_writing import as_text
from webcall.records import as_json_value

VERSION = 1
# LiveKit's own limit for metadata (livekit-server `limit.max_metadata_size`).
MAX_BYTES = 512 * 1024

FILLED_FIELDS = ("assistant_prompt", "assistant_start_instruction")


def filled_definition(
    assistant: Assistant, metadata: Mapping[str, Any], *, text_only: bool
) -> dict[str, Any]:
    """Return the assistant's whole definition with the placeholders of its texts filled.

    Raises `InvalidMetadata` if the caller's metadata swells a text past its limit, and
    `TemplateError` if a text cannot be parsed.
    """
    definition: dict[str, Any] = as_json_value(assistant.record)
    values = Values(metadata, assistant.placeholder_defaults, text_only=text_only)
    texts = (assistant.prompt, assistant.start_instruction)
    for name, text in zip(FILLED_FIELDS, texts, strict=True):
        if not text:
            continue
        try:
            definition[name] = fill(text, values)
        except TemplateError as error:
            error.field = name
            raise
    return definition


def dispatch_metadata(
    *,
    room: str,
    definition: Mapping[str, Any],
    metadata: Mapping[str, Any],
    text_only: bool,
    max_duration_s: int,
) -> str:
    """Return the dispatch's metadata as JSON, in the form that the contract gives.

    Raises `RecordError` if the definition makes it larger than LiveKit takes.
    """
    text = as_text(
        {
            **metadata,
            # The service's own three win over the caller's pairs of these names.
            "call_type": "web",
            "text_only": text_only,
            "web_call": {
                "version": VERSION,
                "room_name": room,
                "metadata": metadata,
                "max_duration_s": max_duration_s,
                "assistant": definition,
            },
        }
    )
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise RecordError("assistant record: holds characters that are no Unicode text") from None
    if size > MAX_BYTES:
        raise RecordError(f"assistant record: {size} bytes with its call's data, LiveKit takes {MAX_BYTES}")
    return text


def longest_call_s(metadata: str) -> float | None:
    """Return for how many seconds the call of a dispatch may last; infinity: for ever.

    None where this service did not make the dispatch: its metadata has no `web_call`.
    """
    try:
        whole = json.loads(metadata)
    except (ValueError, RecursionError):
        return None
    web_call = whole.get("web_call") if isinstance(whole, dict) else None
    if not isinstance(web_call, dict):
        return None
    limit = web_call.get("max_duration_s")
    if isinstance(limit, int | float) and not isinstance(limit, bool) and limit > 0:
        return limit
    return math.inf
