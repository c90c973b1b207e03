"""Find config.yaml, read it, and turn it into a `Config` and a list of faults."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from marshmallow import Schema, ValidationError, fields

from webcall.config.interpolation import interpolate
from webcall.config.schema import NOT_YET, Config, ConfigSchema
from webcall.errors import ConfigError

UNKNOWN = "Unknown field."


class Reading:
    """What was read: the settings that are usable, and the faults by their setting's path."""

    def __init__(self, source: Mapping[str, Any] | Path | str | None, environ: Mapping[str, str]) -> None:
        """Read `source`: a mapping as YAML gives it, a path, or None to look where CONFIG says.

        Raises `ConfigError` if there is no such file or it is not YAML; everything else is in `faults`.
        """
        if isinstance(source, Mapping):
            tree: Any = source
        else:
            tree = _parse(Path(source) if source is not None else _find(environ))
        self._tree, self.unresolved = interpolate(tree, environ)
        self.faults: dict[str, str] = {}
        self.config: Config | None = None
        self.values = self._load()

    def _load(self) -> dict[str, Any]:
        # Settings without a section of their own in the file still have required ones in them.
        tree = self._tree | {"livekit": self._tree.get("livekit") or {}}
        try:
            config: Config = ConfigSchema().load(tree)
        except ValidationError as error:
            self.faults = dict(flatten(error.messages_dict, ConfigSchema()))
            return error.valid_data if isinstance(error.valid_data, dict) else {}
        self.config = config
        return {"plugins": config.plugins, "backends": config.backends} | {
            "auth": config.auth,
            "assistants": config.assistants,
        }


def flatten(messages: Mapping[Any, Any], schema: Schema | None, path: str = "") -> Iterable[tuple[str, str]]:
    """Yield (path, fault) for marshmallow's nested messages; unknown names get their nearest neighbour."""
    known = schema.fields if schema is not None else {}
    for name, told in messages.items():
        where = path if name == "_schema" else f"{path}.{name}" if path else str(name)
        if isinstance(told, Mapping):
            inner = known.get(name)
            yield from flatten(told, inner.schema if isinstance(inner, fields.Nested) else None, where)
        elif UNKNOWN in told:
            yield where, _unknown(where, str(name), list(known))
        else:
            yield where, "; ".join("missing" if "required" in str(text) else str(text) for text in told)


def _unknown(path: str, name: str, known: list[str]) -> str:
    if path in NOT_YET:
        return "comes with a later version and would have no effect: remove it"
    return "unknown setting" + nearest(name, known)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'? (there are: …)` for an error about a name that does not exist."""
    there = sorted(known)
    if not there:
        return " (there are none)"
    [best] = difflib.get_close_matches(name, there, n=1, cutoff=0.0) or there[:1]
    return f"; did you mean '{best}'? (there are: {', '.join(there)})"


def _find(environ: Mapping[str, str]) -> Path:
    named = environ.get("WEBCALL_CONFIG")
    if named:
        return Path(named)
    places = [Path.cwd() / "config.yaml", Path(__file__).parents[2] / "config.yaml"]
    for place in places:
        if place.is_file():
            return place
    raise ConfigError(
        ["config.yaml: not found in the working directory or beside wsgi.py; WEBCALL_CONFIG can name another"]
    )


def _parse(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text("utf-8"), Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8"]) from None
    except yaml.MarkedYAMLError as error:
        # Only the place and the kind: the text around it may be a secret.
        mark = error.problem_mark
        at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError([f"{path}: not YAML: {error.problem}{at}"]) from None
    except yaml.YAMLError:
        raise ConfigError([f"{path}: not YAML"]) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError([f"{path}: not a mapping of settings"])
    return tree


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a setting written twice, of which YAML would keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            if name.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the setting '{name.value}' stands twice", problem_mark=name.start_mark
                )
            seen.add(name.value)
        return super().construct_mapping(node, deep)
