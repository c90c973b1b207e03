"""How an assistant talks: `assistant_interaction_config`, read leniently. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MAX_REPROMPTS = 10


@dataclass(frozen=True, slots=True)
class Interaction:
    """The settings that the worker knows; their names are those of existing deployments' records.

    `silence_reprompt_interval` is in seconds. `max_call_duration_minutes`: None leaves the length to
    the service's own limit. `reply_on_chat` sends replies on the topic `lk.chat` as well.
    """

    speaks_first: bool = True
    allow_interruptions: bool = True
    silence_reprompts: bool = False
    silence_reprompt_interval: float = 10.0
    silence_max_reprompts: int = 2
    max_call_duration_minutes: float | None = None
    reply_on_chat: bool = False


def read_interaction(config: Any) -> tuple[Interaction, list[str]]:
    """Return the settings of a definition, and the names in it that are not known or not usable.

    A setting of the wrong type or out of range keeps its default: an assistant that was stored long
    ago still answers.
    """
    if not isinstance(config, Mapping):
        return Interaction(), [] if config is None else ["assistant_interaction_config"]
    known = {field.name for field in fields(Interaction)}
    taken: dict[str, Any] = {}
    ignored = []
    for name, value in config.items():
        if name in known and value is None:
            continue
        if name in known and _usable(name, value):
            taken[name] = value
        else:
            ignored.append(f"assistant_interaction_config.{name}")
    return Interaction(**taken), ignored


def _usable(name: str, value: Any) -> bool:
    if name == "silence_max_reprompts":
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_REPROMPTS
    if name in ("silence_reprompt_interval", "max_call_duration_minutes"):
        fine = isinstance(value, int | float) and not isinstance(value, bool)
        return fine and math.isfinite(value) and value > 0
    return isinstance(value, bool)
