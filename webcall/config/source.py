"""Find config.yaml, read it, and turn it into a `Config` and a list of faults."""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marshmallow import ValidationError

from webcall.config import interpolation
from webcall.config.faults import Fault, flatten, shown
from webcall.config.files import CannotRead, text_of
from webcall.config.parsing import parse
from webcall.config.schema import ConfigSchema
from webcall.config.settings import Config
from webcall.errors import ConfigError

# Far above any real file: what passes is walked, and quoted in faults, without further care.
MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 20_000


@dataclass(frozen=True)
class Reading:
    """What was read: the settings if they are all good, the faults, and the names that are usable anyway."""

    config: Config | None
    faults: tuple[Fault, ...]
    unresolved: Mapping[interpolation.Path, str]
    """References to the environment that have no value, used or not."""
    references: Mapping[interpolation.Path, tuple[str, ...]]
    """The names of the environment's variables that values refer to."""
    variables: frozenset[str]
    """The names of those that are not empty in the environment, whoever's they are."""
    plugins: tuple[str, ...]
    validators: tuple[str, ...]
    stores: tuple[str, ...]
    backends: Mapping[str, Mapping[str, Any]]


def read(
    source: Mapping[str, Any] | Path | str | None,
    environ: Mapping[str, str],
    sections: Container[str] | None = None,
) -> Reading:
    """Read `source`: a mapping as YAML gives it, a path, or None to look for config.yaml.

    Of the `sections` that there are, the others keep their defaults, whatever stands there; None: all
    are read. Raises `ConfigError` if there is no such file, if it is not YAML, or if it is beyond all bounds;
    every other fault is in the result.
    """
    if isinstance(source, Mapping):
        tree: Any = source
    else:
        path = Path(source) if source is not None else find(environ)
        tree = parse(_text(path), str(path))
    _check_bounds(tree)
    schema = ConfigSchema()
    if sections is not None and isinstance(tree, Mapping):
        tree = {name: value for name, value in tree.items() if name in sections or name not in schema.fields}
    references = interpolation.references(tree)
    variables = frozenset(name for name, value in environ.items() if value)
    tree, unresolved = interpolation.interpolate(tree, environ)
    try:
        config: Config = schema.load(tree)
    except ValidationError as error:
        good: Any = error.valid_data if isinstance(error.valid_data, dict) else {}
        faults = tuple(flatten(error.messages_dict, schema))
        return Reading(
            config=None,
            faults=faults,
            unresolved=unresolved,
            references=references,
            variables=variables,
            plugins=tuple(good.get("plugins") or ()),
            validators=_names(good.get("auth"), "validators"),
            stores=_names(good.get("assistants"), "stores"),
            backends=good.get("backends") or {},
        )
    return Reading(
        config=config,
        faults=(),
        unresolved=unresolved,
        references=references,
        variables=variables,
        plugins=config.plugins,
        validators=config.auth.validators,
        stores=config.assistants.stores,
        backends=config.backends,
    )


def _names(section: Any, setting: str) -> tuple[str, ...]:
    # A section with a fault in it comes as a dict of what is good in it.
    found = section.get(setting) if isinstance(section, dict) else getattr(section, setting, None)
    return tuple(found or ())


def find(environ: Mapping[str, str]) -> Path:
    """Return where the settings are: `$WEBCALL_CONFIG`, the working directory, beside wsgi.py.

    Raises `ConfigError` if they are nowhere.
    """
    named = environ.get("WEBCALL_CONFIG")
    if named:
        return Path(named)
    for place in (Path("config.yaml"), Path(__file__).parents[2] / "config.yaml"):
        # A broken link or a folder of that name is told of, not passed over for another file.
        if os.path.lexists(place):
            return place
    raise ConfigError(
        ["config.yaml: not found in the working directory or beside wsgi.py; WEBCALL_CONFIG can name another"]
    )


def _text(path: Path) -> str:
    try:
        return text_of(path, MAX_BYTES)
    except FileNotFoundError as error:
        raise ConfigError([f"{shown(path)}: cannot be read: {error.strerror}"]) from None
    except CannotRead as error:
        raise ConfigError([f"{shown(path)}: {error}"]) from None


def _check_bounds(tree: Any) -> None:
    """Refuse what could not be walked: YAML's aliases make endless trees, and huge ones, of a few bytes."""
    left: list[tuple[Any, int]] = [(tree, 1)]
    values = 0
    while left:
        value, depth = left.pop()
        values += 1
        if depth > MAX_DEPTH:
            raise ConfigError(
                [f"config: settings nested deeper than {MAX_DEPTH} levels, or a YAML alias in itself"]
            )
        if values > MAX_VALUES:
            raise ConfigError(
                [f"config: more than {MAX_VALUES} values, those of YAML aliases counted each time"]
            )
        items = value.values() if isinstance(value, Mapping) else value
        if isinstance(value, Mapping | list | tuple):
            left.extend((item, depth + 1) for item in items)
