"""`${NAME}` and `${NAME:-default}` inside the string values of a parsed YAML document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{")


class _Unresolvable(Exception):
    pass


def interpolate(tree: Any, environ: Mapping[str, str]) -> tuple[Any, dict[str, str]]:
    """Return the tree with its references replaced, and the faults by path (`livekit.api_key`).

    As in a shell, an empty variable takes the default; `$$` is a dollar sign. A value that cannot be
    resolved is left out of the tree, so that the schema's default or "missing" stands in its place
    until the fault is reported. What comes from the environment is not looked at again.
    """
    faults: dict[str, str] = {}

    def walk(value: Any, path: str) -> Any:
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: _resolve(match, environ), value)
        if isinstance(value, Mapping):
            pairs = ((name, _join(path, name), item) for name, item in value.items())
            return {
                name: found for name, where, item in pairs if (found := attempt(item, where)) is not _LOST
            }
        if isinstance(value, list):
            found = (attempt(item, _join(path, index)) for index, item in enumerate(value))
            return [item for item in found if item is not _LOST]
        return value

    def attempt(value: Any, path: str) -> Any:
        try:
            return walk(value, path)
        except _Unresolvable as error:
            faults[path] = str(error)
            return _LOST

    result = attempt(tree, "")
    return ({} if result is _LOST else result), faults


_LOST = object()


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _resolve(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    name, default = match["name"], match["default"]
    if name is None:
        raise _Unresolvable("'${' begins a reference: write ${NAME} or ${NAME:-default}, or $${ for the text")
    value = environ.get(name) or default
    if value is None:
        raise _Unresolvable(f"the environment variable {name} is not set")
    return value
