"""Read files of assistants' definitions."""

from __future__ import annotations

import json
from typing import IO, Any

import click
import yaml

from webcall.records import as_json_value
from webcall.strict import DistinctMappings, Repeated, distinct, yaml_problem

_TIMESTAMP = "tag:yaml.org,2002:timestamp"


def read_definitions(file: IO[str]) -> list[Any]:
    """Return the definitions in a YAML or JSON file: one, or a list of at least one.

    Values have the forms that JSON has; a date stays the text that it is. Raises
    `click.ClickException`, which tells the place of a fault and quotes nothing.
    """
    try:
        found = as_json_value(_parse(file.read()))
    except UnicodeDecodeError:
        raise click.ClickException(f"{file.name}: not UTF-8") from None
    except RecursionError:
        raise click.ClickException(f"{file.name}: nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:
        repeated = isinstance(error, Repeated)
        mark = getattr(error, "mark" if repeated else "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = yaml_problem(error) if isinstance(error, yaml.YAMLError) else ""
        told = (
            "a field stands twice" if repeated else f"neither YAML nor JSON{': ' if problem else ''}{problem}"
        )
        raise click.ClickException(f"{file.name}: {told}{where}") from None
    if found is None or found == []:
        raise click.ClickException(f"{file.name}: holds no definition")
    return found if isinstance(found, list) else [found]


def _parse(text: str) -> Any:
    # JSON is YAML too, which takes a hundred times as long to read.
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text, object_pairs_hook=distinct)
        except json.JSONDecodeError:
            pass
    return yaml.load(text, Loader=_Loader)  # noqa: S506  # nosec B506  # a SafeLoader


class _Loader(DistinctMappings, yaml.SafeLoader):
    """A SafeLoader that refuses repeated fields and leaves dates as they are written."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # the name that PyYAML reads
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
