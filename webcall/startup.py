"""All that can be checked without a connection: settings, plugins, and the backends' settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from webcall.config.faults import Fault, flatten, nearest, setting_names, shown, unknown
from webcall.config.settings import Config
from webcall.config.source import Reading, read
from webcall.config.telling import lines
from webcall.errors import ConfigError
from webcall.interfaces import Backend, CacheSettings
from webcall.plugin_manager import Plugins, load_plugins, reason_of

_OF_THE_WORKER = ("livekit", "worker", "log")


def _seconds(description: str) -> fields.Float:
    in_a_day = validate.Range(min=0, max=86400, error="not a number of seconds from {min} to {max}")
    return fields.Float(validate=in_a_day, metadata={"description": description})


class CacheSchema(Schema):
    """The settings that stand beside any backend's own."""

    cache_s = _seconds("how long a record is kept, in seconds; 0: not")
    negative_cache_s = _seconds("how long “unknown”, revoked and inactive are kept")
    stale_if_error_s = _seconds("how much longer the last record serves while the backend fails")
    cache_size = fields.Integer(
        validate=validate.Range(min=1, max=10_000_000, error="not a number from {min} to {max}"),
        metadata={"description": "how many answers of each side are kept"},
    )


@dataclass(frozen=True)
class Chosen:
    """A backend that the configuration uses, with its settings as its schema loaded them."""

    backend: Backend
    settings: dict[str, Any] = field(repr=False)
    cache: CacheSettings = field(default_factory=CacheSettings)


@dataclass(frozen=True)
class Setup:
    """A deployment's settings and backends, checked; nothing is connected yet.

    `validators` and `stores` are in the order in which they are asked; `settings` holds those of every
    backend in use, by its name.
    """

    config: Config
    plugins: Plugins
    validators: tuple[Chosen, ...]
    stores: tuple[Chosen, ...]
    settings: Mapping[str, dict[str, Any]] = field(repr=False)
    reading: Reading | None = field(default=None, repr=False)


def prepare(
    source: Mapping[str, Any] | Path | str | None = None, environ: Mapping[str, str] | None = None
) -> Setup:
    """Read and check everything an operator can get wrong; open no connection.

    `source` is a mapping as YAML gives it, a path, or None to look for config.yaml; `environ` fills
    its references (default: the process's; a backend such as `env` reads its own variables from the
    process's all the same). Raises `ConfigError` with every fault that was found, one
    line each, led by the setting's path.
    """
    reading = read(source, os.environ if environ is None else environ)
    plugins, plugin_faults = load_plugins(reading.plugins)
    # A name that nobody offers may belong to a plugin that is missing here: one fault is enough.
    complete = not plugin_faults and not any(fault.path.startswith("plugins") for fault in reading.faults)
    chosen: dict[str, tuple[dict[str, Any], CacheSettings]] = {}
    faults = [
        *reading.faults,
        *_unknown_backends(reading, plugins, complete),
        *_backend_settings(reading, plugins, complete, chosen),
    ]
    told = [*lines(faults, reading), *(f"plugins: {fault}" for fault in plugin_faults)]
    if told or reading.config is None:
        raise ConfigError(told)
    return Setup(
        config=reading.config,
        plugins=plugins,
        validators=tuple(Chosen(plugins.validators[name], *chosen[name]) for name in reading.validators),
        stores=tuple(Chosen(plugins.stores[name], *chosen[name]) for name in reading.stores),
        settings={name: settings for name, (settings, _) in chosen.items()},
        reading=reading,
    )


def choose(setup: Setup, side: Literal["validators", "stores"], name: str) -> Chosen:
    """Return one side of the backend `name`, whether it is in use or not, with its settings checked.

    Raises `ConfigError` with every fault, one line each, as `prepare` does for those in use.
    """
    in_use = setup.validators if side == "validators" else setup.stores
    for known in in_use:
        if known.backend.name == name:
            return known
    offered = setup.plugins.validators if side == "validators" else setup.plugins.stores
    if name not in offered or setup.reading is None:
        raise ConfigError([f"no plugin offers a backend '{shown(name)}' for this{nearest(name, offered)}"])
    reading = replace(setup.reading, validators=(name,), stores=())
    loaded: dict[str, tuple[dict[str, Any], CacheSettings]] = {}
    faults = list(_load_settings(offered[name], reading.backends.get(name, {}), loaded))
    if told := list(lines(faults, reading)):
        raise ConfigError(told)
    return Chosen(offered[name], *loaded[name])


def settings_only(
    source: Mapping[str, Any] | Path | str | None = None, environ: Mapping[str, str] | None = None
) -> Config:
    """Read and check the worker's settings: its own, LiveKit's and the log's.

    The other sections are the service's, whose packages and secrets need not be on the worker's machine:
    they keep their defaults. Raises `ConfigError` with every fault.
    """
    reading = read(source, os.environ if environ is None else environ, _OF_THE_WORKER)
    told = list(lines(reading.faults, reading))
    if told or reading.config is None:
        raise ConfigError(told)
    return reading.config


def _unknown_backends(reading: Reading, plugins: Plugins, complete: bool) -> Iterator[Fault]:
    kinds = {
        "auth.validators": (reading.validators, plugins.validators, "API keys"),
        "assistants.stores": (reading.stores, plugins.stores, "assistants"),
    }
    for path, (names, offered, what) in kinds.items():
        for name in names:
            if name in plugins.backends and name not in offered:
                yield Fault(path, f"the backend '{shown(name)}' knows no {what}{nearest(name, offered)}")
            elif name not in offered and complete:
                yield Fault(path, f"no plugin offers a backend '{shown(name)}'{nearest(name, offered)}")


def _backend_settings(
    reading: Reading,
    plugins: Plugins,
    complete: bool,
    chosen: dict[str, tuple[dict[str, Any], CacheSettings]],
) -> Iterator[Fault]:
    """Load the settings of each backend in use, and its cache's, into `chosen`; yield the faults.

    Of a backend that is not in use only the names are checked, so that it needs no environment.
    """
    in_use = {*reading.validators, *reading.stores}
    backends = plugins.backends
    for name in reading.backends:
        if name not in backends and name not in in_use and complete:
            told = f"no plugin offers this backend{nearest(name, backends)}"
            yield Fault(f"backends.{shown(name)}", told, known=False)
    for name, backend in backends.items():
        own = reading.backends.get(name, {})
        if name in in_use:
            yield from _load_settings(backend, own, chosen)
        elif own:
            yield from _unknown_settings(backend, own)


def _load_settings(
    backend: Backend, own: Mapping[str, Any], chosen: dict[str, tuple[dict[str, Any], CacheSettings]]
) -> Iterator[Fault]:
    path = f"backends.{backend.name}"
    faults: list[Fault] = []
    cache, schema, loaded = backend.cache, Schema(), None
    mine, theirs = _split(own)
    try:
        cache = CacheSettings(**{**asdict(cache), **CacheSchema().load(mine)})
    except ValidationError as error:
        faults += flatten(error.messages_dict, CacheSchema(), path)
    try:
        schema = (backend.settings_schema or Schema)()
        loaded = schema.load(theirs)
    except ValidationError as error:
        faults += flatten(error.messages_dict, schema, path)
    except Exception as error:
        faults.append(Fault(path, f"the plugin failed to check these settings: {reason_of(error)}"))
    else:
        if not isinstance(loaded, dict):
            told = f"the plugin's settings_schema loads {type(loaded).__name__}, not a dict"
            faults.append(Fault(path, told))
        elif not faults:
            chosen[backend.name] = (loaded, cache)
    yield from faults


def _split(own: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the cache, and the backend's own."""
    names = CacheSchema().fields
    return (
        {name: value for name, value in own.items() if name in names},
        {name: value for name, value in own.items() if name not in names},
    )


def _unknown_settings(backend: Backend, own: Mapping[str, Any]) -> Iterator[Fault]:
    schema = (backend.settings_schema or Schema)()
    known = {**setting_names(schema), **CacheSchema().fields}
    for name in own:
        if name not in known and schema.unknown == RAISE:
            yield unknown(f"backends.{backend.name}.{shown(name)}", name, known)
