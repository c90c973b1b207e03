"""Which models a definition means: names and configs of an assistant, read against the table. Pure.

The service's checks and the worker read them alike; the checks tell as warnings what the worker would
refuse to run, since the worker may run elsewhere with other packages and keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from webcall.core.model_kinds import Kind, KindName, Provider
from webcall.core.model_options import is_model_name, taken
from webcall.core.model_table import (
    DEEPGRAM,
    DEEPGRAM_FLUX,
    DEMO,
    GOOGLE,
    INFERENCE,
    OPENAI,
    PROVIDERS,
)

Part = Literal["llm", "stt", "tts"]
PARTS: tuple[Part, ...] = ("llm", "stt", "tts")
UNKNOWN = "neither provider/model nor a known provider's name"

# What existing deployments' records have for a provider, in place of a key, and for "the realtime model
# hears by itself".
_ALSO_CALLED = {"gemini": "google", "mistralai": "mistral"}
_NO_KEYS = frozenset({"", "system"})
_NATIVE = "native"
_KIND_WORDS = {"llm": "language model", "stt": "speech to text", "tts": "text to speech"} | {
    "realtime": "realtime model"
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One model of a call: whose it is, which, and its settings under the constructor's own names.

    `model` is empty where the provider has only one. `text_only` says that a realtime model answers
    in text. `api_key` and `base_url` are the definition's own, where they are allowed.
    """

    part: Part
    kind_name: KindName
    provider: Provider
    kind: Kind
    model: str
    options: Mapping[str, Any] = field(repr=False)
    text_only: bool = False
    api_key: str = field(default="", repr=False)
    base_url: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """The field and the provider, for messages."""
        told = f"assistant_{self.part}_model: "
        if self.provider is INFERENCE:
            vendor = self.model.partition("/")[0]
            told += f"{vendor} is none of {', '.join(PROVIDERS)}; "
        return told + self.provider.name


@dataclass(frozen=True, slots=True)
class Chosen:
    """The models of a definition. `faults` are the reasons for which it cannot be run as it stands,
    `dropped` the names of settings that are passed over, as `assistant_tts_config.name`.
    """

    choices: tuple[Choice, ...]
    faults: tuple[str, ...]
    dropped: tuple[str, ...]


def provider_named(name: str) -> Provider | None:
    """Return the provider of this name, in any case, or None."""
    lowered = name.strip().lower()
    return PROVIDERS.get(_ALSO_CALLED.get(lowered, lowered))


def choose(
    definition: Mapping[str, Any],
    *,
    mode: str,
    text_only: bool,
    defaults: Mapping[str, str],
    allowed: Sequence[str] = (),
) -> Chosen:
    """Return the models that a definition means.

    `defaults` are the worker's own names for `llm`, `stt`, `tts` and `realtime`, `allowed` what a
    definition may bring itself (`api_key`, `base_url`).
    """
    reader = _Reader(definition, mode, defaults, allowed)
    spoken = not text_only and mode != "realtime"
    llm = reader.llm()
    choices = [llm, reader.stt(llm) if spoken else None, reader.tts() if spoken else None]
    return Chosen(
        tuple(choice for choice in choices if choice is not None),
        tuple(reader.faults),
        tuple(reader.dropped),
    )


class _Reader:
    """Reads the three parts of one definition, and keeps what is wrong with them."""

    def __init__(
        self, definition: Mapping[str, Any], mode: str, defaults: Mapping[str, str], allowed: Sequence[str]
    ) -> None:
        self.definition, self.mode, self.defaults, self.allowed = definition, mode, defaults, allowed
        self.faults: list[str] = []
        self.dropped: list[str] = []

    def llm(self) -> Choice | None:
        default = self.defaults["realtime" if self.mode == "realtime" else "llm"]
        named = self._named("llm", default)
        if named is None:
            return None
        provider, model = named
        realtime = any(part in model.lower() for part in provider.realtime_models)
        if self.mode == "cascade" and realtime:
            self.faults.append("assistant_llm_model: a realtime model, which mode cascade cannot use")
            return None
        kind: KindName = "realtime" if realtime or self.mode == "realtime" else "llm"
        return self._choice("llm", kind, provider, model, text_only=realtime and self.mode != "realtime")

    def stt(self, llm: Choice | None) -> Choice | None:
        name = _text(self.definition.get("assistant_stt_model")).lower()
        if llm is not None and llm.kind_name == "realtime" and name in ("", _NATIVE, OPENAI.name):
            return None
        return self._part("stt", native=name == _NATIVE)

    def tts(self) -> Choice | None:
        return self._part("tts")

    def _part(self, part: Literal["stt", "tts"], *, native: bool = False) -> Choice | None:
        if native:
            # Without a realtime model nobody would hear: the worker's own default does.
            named = self._parsed(part, self.defaults[part], {})
        else:
            named = self._named(part, self.defaults[part])
        return self._choice(part, part, *named) if named else None

    def _config(self, part: Part) -> Mapping[str, Any]:
        config = self.definition.get(f"assistant_{part}_config")
        return config if isinstance(config, Mapping) else {}

    def _named(self, part: Part, default: str) -> tuple[Provider, str] | None:
        """Return provider and model of a part; the model is empty for the provider's usual one."""
        config = self._config(part)
        name = _text(self.definition.get(f"assistant_{part}_model"))
        beside = _text(config.get("provider"))
        if name and beside and "/" not in name and provider_named(name) is None:
            # A model's plain name, with its provider in the config.
            name = f"{beside}/{name}"
        if not name and beside:
            name = beside
        if not name and part == "llm":
            name = _guessed(_text(config.get("model")))
        return self._parsed(part, name or default, config)

    def _parsed(self, part: Part, name: str, config: Mapping[str, Any]) -> tuple[Provider, str] | None:
        vendor, slash, model = name.partition("/")
        provider = provider_named(vendor)
        if provider is None and slash:
            provider, model = INFERENCE, name
        if provider is None:
            self.faults.append(f"assistant_{part}_model: {UNKNOWN}")
            return None
        if not slash and provider is not DEMO:
            model = _text(config.get("model"))
        if model and not is_model_name(model):
            self.faults.append(f"assistant_{part}_model: holds characters that no model's name has")
            return None
        return provider, model

    def _choice(
        self, part: Part, kind_name: KindName, provider: Provider, model: str, *, text_only: bool = False
    ) -> Choice | None:
        kind = provider.kinds.get(kind_name)
        if kind is None:
            self.faults.append(f"assistant_{part}_model: {provider.name} has no {_KIND_WORDS[kind_name]}")
            return None
        if provider is DEEPGRAM and kind_name == "stt" and model.startswith("flux"):
            kind = DEEPGRAM_FLUX
        config = self._config(part)
        found = taken(config, kind, part)
        self.faults += found.faults
        self.dropped += found.dropped
        options = dict(found.options)
        by_voice = options.pop("model", "")
        return Choice(
            part=part,
            kind_name=kind_name,
            provider=provider,
            kind=kind,
            model=model or by_voice or kind.model,
            options=options,
            text_only=text_only,
            api_key=self._own(part, config, "api_key", fits=kind.takes_key),
            base_url=self._own(part, config, "base_url", fits=provider.takes_base_url),
        )

    def _own(self, part: Part, config: Mapping[str, Any], name: str, *, fits: bool) -> str:
        """Return a key or an address of the definition's own, if it may have one."""
        value = config.get(name)
        if value is None or (isinstance(value, str) and value.strip().lower() in _NO_KEYS):
            return ""
        place = f"assistant_{part}_config.{name}"
        if name not in self.allowed or not fits:
            self.dropped.append(place)
            return ""
        if not isinstance(value, str) or (name == "base_url" and not _is_address(value)):
            self.faults.append(f"{place}: not usable")
            return ""
        return value.strip()


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _guessed(model: str) -> str:
    """Return the full name of a language model that a config names without its provider."""
    for start, provider in (("gpt-", OPENAI), ("gemini-", GOOGLE)):
        if model.lower().startswith(start):
            return f"{provider.name}/{model}"
    return model if "/" in model else ""


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value.strip())
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
