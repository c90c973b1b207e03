"""The fields of an assistant's definition that the service or the worker knows, and misspelt ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

# Fields of a definition that the worker reads or may pass over without a word.
KNOWN_FIELDS = frozenset(
    {
        "_id",
        "agent_name",
        "assistant_id",
        "assistant_name",
        "assistant_description",
        "assistant_mode",
        "assistant_prompt",
        "assistant_start_instruction",
        "assistant_placeholder_defaults",
        "assistant_interaction_config",
        "assistant_created_at",
        "assistant_created_by_email",
        "assistant_updated_at",
        "assistant_updated_by_email",
        "assistant_is_active",
        "assistant_end_call_enabled",
        "assistant_end_call_trigger_phrase",
        "assistant_end_call_agent_message",
        *(f"assistant_{part}_{what}" for part in ("llm", "stt", "tts") for what in ("model", "config")),
    }
)

# So alike that one is meant for the other: a letter or two, and not another word behind `assistant_`.
_ALIKE = 0.85


def misspelt(record: Mapping[object, object]) -> Iterator[tuple[str, str]]:
    """Yield (field, the one that is meant) of each unknown field that looks like a known one.

    Those that do not begin as the known ones are somebody's own, and handed on to the worker.
    """
    for name in record:
        if (
            isinstance(name, str)
            and name not in KNOWN_FIELDS
            and re.fullmatch(r"assist[\w-]*", name, re.ASCII)
        ):
            for meant in difflib.get_close_matches(name, sorted(KNOWN_FIELDS), n=1, cutoff=_ALIKE):
                yield name, meant
