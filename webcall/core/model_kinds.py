"""The form of a row in the table of models. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

KindName = Literal["llm", "stt", "tts", "realtime"]
# A name goes into addresses and headers, a text only into bodies; `names` are one or a list of them,
# a `pace` is a number or a name.
Value = Literal["name", "text", "number", "whole", "flag", "names", "pace", "voice_settings"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What one provider has of one kind of model.

    `attribute` is the class in the plugin's module, `model` the model of a bare provider's name,
    `model_argument` the argument that takes it. `options` are the settings passed on, with the type
    of each; `aliases` other names that definitions have for them. All the environment variables
    `keys` must be set, where the definition does not bring a key and may; `takes_key`: as `api_key`.
    """

    attribute: str
    model: str
    options: Mapping[str, Value] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    model_argument: str = "model"
    takes_key: bool = True


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider: the plugin's `module`, the `package` it comes in, the `extra` that installs it.

    A model whose name holds one of `realtime_models` is a realtime model.
    """

    name: str
    module: str
    kinds: Mapping[KindName, Kind]
    package: str = ""
    extra: str = ""
    takes_base_url: bool = False
    realtime_models: tuple[str, ...] = ()
