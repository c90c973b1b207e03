"""`${NAME}`, `${file:/path}` and their defaults inside the string values of a parsed YAML document."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from pathlib import Path as FilePath
from typing import Any

from webcall.config.faults import shown
from webcall.config.files import CannotRead, secret_of

# In a path and in a default, `$$` is a dollar sign too, and another reference is refused: cut at the
# first brace it would leave its tail behind in the value. A path ends where `:-` begins.
_REFERENCE = re.compile(
    r"\$\$|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|file:(?P<file>(?!-)(?:\$\$|(?!:-)[^}$]|\$(?!\{))+))"
    r"(?::-(?P<default>(?:\$\$|[^}$]|\$(?!\{))*))?\}|\$\{"
)
# As the images of Docker's library have it: NAME_FILE names a file with the value of NAME.
_FILE = "_FILE"

Path = tuple[str, ...]
"""Where a value stands: the names on the way to it, positions in lists among them."""


class _Unresolvable(Exception):
    pass


def interpolate(tree: Any, environ: Mapping[str, str]) -> tuple[Any, dict[Path, str]]:
    """Return the tree with its references replaced, and the faults by path (`("livekit", "api_key")`).

    As in a shell, an empty variable takes the default, and so does a file that is empty or not there;
    `$$` is a dollar sign. For `NAME`, the file that the variable `NAME_FILE` names will do, too. A value
    that cannot be resolved is None, so that its name can still be checked, and the places of others in a
    list. What comes from the environment or a file is not looked at again.
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


def references(tree: Any) -> dict[Path, tuple[str, ...]]:
    """Return for each value that refers to the environment the names of the variables."""
    found: dict[Path, tuple[str, ...]] = {}

    def walk(value: Any, path: Path) -> None:
        if isinstance(value, str):
            if names := tuple(match["name"] for match in _REFERENCE.finditer(value) if match["name"]):
                found[path] = names
        elif isinstance(value, Mapping):
            for name, item in value.items():
                walk(item, (*path, str(name)))
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                walk(item, (*path, str(index)))

    walk(tree, ())
    return found


def variable_of(name: str, environ: Container[str]) -> str | None:
    """Return which of `NAME` and `NAME_FILE` is in `environ`, or None."""
    return next((one for one in (name, name + _FILE) if one in environ), None)


def _resolve(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    default = None if match["default"] is None else match["default"].replace("$$", "$")
    if match["name"] is not None:
        return _variable(match["name"], default, environ)
    if match["file"] is not None:
        return _file(match["file"].replace("$$", "$"), default)
    raise _Unresolvable(
        "'${' begins a reference: write ${NAME}, ${NAME:-default} or ${file:/path}, no reference inside the "
        "default or the path, or $${ for the text"
    )


def _variable(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    value, file = environ.get(name), environ.get(name + _FILE)
    if value and file:
        raise _Unresolvable(f"the environment variables {name} and {name}{_FILE} are both set: unset one")
    if value:
        return value
    if file:
        # Whoever names a file means it: no default takes its place.
        return _file(file, None, f" that {name}{_FILE} names")
    if default is not None:
        return default
    raise _Unresolvable(f"the environment variable {name} is {'not set' if value is None else 'empty'}")


def _file(path: str, default: str | None, named: str = "") -> str:
    told = f"the file {shown(path)}{named}"
    try:
        value = secret_of(FilePath(path))
    except FileNotFoundError:
        if default is not None:
            return default
        raise _Unresolvable(f"{told} is not there") from None
    except CannotRead as error:
        # A secret that is there and cannot be read is a mistake, whatever the default says.
        raise _Unresolvable(f"{told}: {error}") from None
    if value:
        return value
    if default is not None:
        return default
    raise _Unresolvable(f"{told} is empty")
