"""All that can be checked without a connection: settings, plugins, and the backends' settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError

from webcall.config.schema import Config
from webcall.config.source import UNKNOWN, Reading, flatten, nearest
from webcall.errors import ConfigError
from webcall.interfaces import Backend
from webcall.plugin_manager import Plugins, load_plugins


@dataclass(frozen=True)
class Chosen:
    """A backend that the configuration uses, with its settings as its schema loaded them."""

    backend: Backend
    settings: dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """A deployment's settings and backends, checked; nothing is connected yet."""

    config: Config
    plugins: Plugins
    validators: tuple[Chosen, ...]
    stores: tuple[Chosen, ...]
    settings: Mapping[str, dict[str, Any]]


def prepare(
    source: Mapping[str, Any] | Path | str | None = None, environ: Mapping[str, str] | None = None
) -> Setup:
    """Read and check everything an operator can get wrong; open no connection.

    `source` is a mapping as YAML gives it, a path, or None to look for config.yaml. Raises
    `ConfigError` with every fault that was found, one line each, led by the setting's path.
    """
    reading = Reading(source, os.environ if environ is None else environ)
    faults = dict(reading.faults)
    names = reading.values.get("plugins", ())
    plugins, plugin_faults = load_plugins(names)
    used = {
        "auth.validators": _names(reading.values, "auth", "validators"),
        "assistants.stores": _names(reading.values, "assistants", "stores"),
    }
    faults |= _unknown_backends(used, plugins, bool(plugin_faults))
    in_use = {name for names in used.values() for name in names}
    settings: dict[str, dict[str, Any]] = {}
    for path, fault in _backend_settings(reading, plugins, in_use, settings, bool(plugin_faults)):
        faults[path] = fault
    unresolved = {path: told for path, told in reading.unresolved.items() if _is_used(path, in_use)}
    lines = [f"{path}: {told}" for path, told in (faults | unresolved).items()]
    if lines or plugin_faults or reading.config is None:
        raise ConfigError(lines + plugin_faults)
    return Setup(
        config=reading.config,
        plugins=plugins,
        validators=tuple(
            Chosen(plugins.validators[name], settings[name]) for name in used["auth.validators"]
        ),
        stores=tuple(Chosen(plugins.stores[name], settings[name]) for name in used["assistants.stores"]),
        settings=settings,
    )


def _names(values: Mapping[str, Any], section: str, setting: str) -> tuple[str, ...]:
    # A section with a fault in it is missing or a plain dict; its own fault is told already.
    return tuple(dict.fromkeys(getattr(values.get(section), setting, ())))


def _is_used(path: str, in_use: set[str]) -> bool:
    section, _, rest = path.partition(".")
    return section != "backends" or rest.split(".")[0] in in_use


def _unknown_backends(used: dict[str, tuple[str, ...]], plugins: Plugins, incomplete: bool) -> dict[str, str]:
    kinds = {"auth.validators": plugins.validators, "assistants.stores": plugins.stores}
    return {
        path: f"no plugin offers a backend '{name}'{nearest(name, kinds[path])}"
        for path, names in used.items()
        for name in names
        # With a plugin that failed to load, the name may well be its own.
        if name not in kinds[path] and not incomplete
    }


def _backend_settings(
    reading: Reading,
    plugins: Plugins,
    in_use: set[str],
    settings: dict[str, dict[str, Any]],
    incomplete: bool,
) -> Iterator[tuple[str, str]]:
    """Load each backend's settings into `settings`; yield the faults by path.

    Of a backend that is not in use only names are checked, so that it needs no environment.
    """
    written = reading.values.get("backends") or {}
    backends = plugins.backends
    for name in written:
        if name not in backends and name not in in_use and not incomplete:
            yield f"backends.{name}", f"no plugin offers this backend{nearest(str(name), backends)}"
    for name, backend in backends.items():
        if name in in_use or name in written:
            own = written.get(name) or {}
            for path, fault in _load_settings(backend, own, name in in_use, settings):
                yield f"backends.{name}{path}", fault


def _load_settings(
    backend: Backend, own: Mapping[str, Any], used: bool, settings: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, str]]:
    schema: Schema = (backend.settings_schema or Schema)()
    if not used:
        for name in own.keys() - schema.fields.keys():
            yield from _faults({name: [UNKNOWN]}, schema)
        return
    try:
        settings[backend.name] = dict(schema.load(own))
    except ValidationError as error:
        yield from _faults(error.messages_dict, schema)


def _faults(messages: Mapping[Any, Any], schema: Schema) -> Iterator[tuple[str, str]]:
    for path, fault in flatten(messages, schema):
        yield f".{path}" if path else "", fault
