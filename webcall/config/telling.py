"""What an operator is told of a reading: lines for its faults, and where a value is to be mended."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from webcall.config.faults import Fault, shown
from webcall.config.interpolation import variable_of
from webcall.config.source import Reading


def lines(faults: Sequence[Fault], reading: Reading) -> Iterator[str]:
    """Yield a line for each fault, and for each reference without a value where a setting uses it."""
    not_known = {fault.path for fault in faults if not fault.known}
    unresolved = {}
    for path, told in reading.unresolved.items():
        if not _is_idle(path, reading) and not any(
            _path(path[:length]) in not_known for length in range(1, len(path) + 1)
        ):
            unresolved[_path(path)] = told
    for fault in faults:
        # "missing", or a section's missing settings, follow from the reference that has no value.
        if not any(fault.path == path or fault.path.startswith(f"{path}.") for path in unresolved):
            yield f"{fault}{_made_of(fault, reading)}"
    for where, told in unresolved.items():
        yield f"{where}: {told}"


def mistyped(reading: Reading) -> dict[str, str]:
    """Return variables of the environment that nothing reads, with the unset one that each seems to mean."""
    names = {
        name
        for path, named in reading.references.items()
        if not _is_idle(path, reading)
        for name in named
        if variable_of(name, reading.variables) is None
    }
    found = {
        name: difflib.get_close_matches(name, names, n=1, cutoff=0.9) for name in sorted(reading.variables)
    }
    known = {name for named in reading.references.values() for name in named}
    return {name: best[0] for name, best in found.items() if best and name not in known}


def _is_idle(path: tuple[str, ...], reading: Reading) -> bool:
    """Return whether a setting is one of a backend that is not in use."""
    in_use = {*reading.validators, *reading.stores}
    return path[:1] == ("backends",) and len(path) > 1 and path[1] not in in_use


def _made_of(fault: Fault, reading: Reading) -> str:
    """Return where to mend a value that does not stand in config.yaml."""
    found = [
        variable_of(name, reading.variables)
        for path, names in reading.references.items()
        if fault.known and f"{fault.path}.".startswith(f"{_path(_without_positions(path))}.")
        for name in names
    ]
    told = list(dict.fromkeys(one for one in found if one is not None))
    return f" (its value is that of {' and '.join(told)})" if told else ""


def _without_positions(path: tuple[str, ...]) -> tuple[str, ...]:
    # The faults of a list are told at its own path or at an item's.
    return tuple(name for name in path if not name.isdigit())


def _path(names: tuple[str, ...]) -> str:
    return ".".join(shown(name) for name in names)
