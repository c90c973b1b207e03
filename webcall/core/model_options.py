"""A definition's settings of one model, checked against the table's types. Pure.

Messages name settings and never hold a value: operators have put keys in every field there is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from webcall.core.model_kinds import Kind, Value

# Read elsewhere: which model, whose, and with which key.
_NOT_OPTIONS = frozenset({"provider", "model", "api_key", "base_url"})

# A name becomes part of an address at some providers: nothing that could lead to another path or query.
_NAME = re.compile(r"[\w.:@+ -]{1,200}", re.ASCII)
# Models of some vendors have a slash in their names.
_MODEL = re.compile(r"[\w.:@+/ -]{1,200}", re.ASCII)
_PRINTABLE_FIELD = re.compile(r"[A-Za-z0-9_.-]{1,60}")

_VOICE_NUMBERS = ("stability", "similarity_boost", "style", "speed")
# Where a definition sets only some; ElevenLabs' own defaults, which the plugin does not have.
_VOICE_DEFAULTS = {"stability": 0.5, "similarity_boost": 0.75}


@dataclass(slots=True)
class Taken:
    """Settings under the constructor's names, what is wrong with others, and names passed over."""

    options: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def is_name(value: Any) -> bool:
    """Tell whether a value may be the name of a voice or a language."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and ".." not in value


def is_model_name(value: Any) -> bool:
    """Tell whether a value may be the name of a model."""
    return isinstance(value, str) and _MODEL.fullmatch(value) is not None and ".." not in value


def taken(config: Mapping[str, Any], kind: Kind, part: str) -> Taken:
    """Return what of `assistant_<part>_config` a model takes. Null and empty values count as not given."""
    found = Taken()
    for name, value in config.items():
        if name in _NOT_OPTIONS or value is None or value == "":
            continue
        place = f"assistant_{part}_config.{name if _PRINTABLE_FIELD.fullmatch(str(name)) else '…'}"
        option = kind.aliases.get(name, name)
        type_ = "name" if option == "model" else kind.options.get(option)
        if type_ is None:
            found.dropped.append(place)
        elif option != name and config.get(option) not in (None, ""):
            continue
        else:
            words, usable, convert = _TYPES[type_]
            if usable(value):
                found.options[option] = convert(value)
            else:
                found.faults.append(f"{place}: not {words}")
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and value == int(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _are_names(value: Any) -> bool:
    return is_name(value) or (isinstance(value, list) and all(is_name(one) for one in value))


def _is_voice_settings(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        one is None
        or (name in _VOICE_NUMBERS and _is_number(one))
        or (name == "use_speaker_boost" and _is_flag(one))
        for name, one in value.items()
    )


def _as_it_is(value: Any) -> Any:
    return value


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _full_voice_settings(value: Mapping[str, Any]) -> dict[str, Any]:
    return _VOICE_DEFAULTS | {name: one for name, one in value.items() if one is not None}


_TYPES: Mapping[Value, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    "name": ("a plain name", is_name, _as_it_is),
    "names": ("a plain name or a list of them", _are_names, _as_list),
    "text": ("a string", _is_text, _as_it_is),
    "number": ("a number", _is_number, _as_it_is),
    "whole": ("a whole number", _is_whole, int),
    "flag": ("true or false", _is_flag, _as_it_is),
    "pace": ("a number or a plain name", lambda value: _is_number(value) or is_name(value), _as_it_is),
    "voice_settings": (
        f"an object of {', '.join(_VOICE_NUMBERS)} (numbers) and use_speaker_boost (true or false)",
        _is_voice_settings,
        _full_voice_settings,
    ),
}
