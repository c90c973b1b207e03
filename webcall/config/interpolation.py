"""`${NAME}` and `${NAME:-default}` inside the string values of a parsed YAML document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# In a default, `$$` is a dollar sign too, and another reference is refused: cut at the first brace it
# would leave its tail behind in the value.
_REFERENCE = re.compile(
    r"\$\$|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>(?:\$\$|[^}$]|\$(?!\{))*))?\}|\$\{"
)

Path = tuple[str, ...]
"""Where a value stands: the names on the way to it, positions in lists among them."""


class _Unresolvable(Exception):
    pass


def interpolate(tree: Any, environ: Mapping[str, str]) -> tuple[Any, dict[Path, str]]:
    """Return the tree with its references replaced, and the faults by path (`("livekit", "api_key")`).

    As in a shell, an empty variable takes the default; `$$` is a dollar sign. A value that cannot be
    resolved is None, so that its name can still be checked, and the places of others in a list. What
    comes from the environment is not looked at again.
    """
    faults: dict[Path, str] = {}

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, str):
            try:
                return _REFERENCE.sub(lambda match: _resolve(match, environ), value)
            except _Unresolvable as error:
                faults[path] = str(error)
                return None
        if isinstance(value, Mapping):
            return {name: walk(item, (*path, str(name))) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [walk(item, (*path, str(index))) for index, item in enumerate(value)]
        return value

    return walk(tree, ()), faults


def _resolve(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    name, default = match["name"], match["default"]
    if name is None:
        raise _Unresolvable(
            "'${' begins a reference: write ${NAME} or ${NAME:-default}, no reference inside the default, "
            "or $${ for the text"
        )
    value = environ.get(name)
    if value:
        return value
    if default is None:
        if value is None:
            raise _Unresolvable(f"the environment variable {name} is not set")
        raise _Unresolvable(f"the environment variable {name} is empty")
    return default.replace("$$", "$")
