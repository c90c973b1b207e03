"""What the commands share: the services, output, backends by name, metadata on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import click
from flask import current_app
from flask.cli import AppGroup

from webcall.core.services import Services
from webcall.errors import WebCallError
from webcall.records import as_json_value

C = TypeVar("C", bound=Callable[..., Any])

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
backend_option = click.option("--backend", help="The backend to write to; without it the first that can.")


class Group(AppGroup):
    """A group whose commands run with the application, and whose errors are one line each."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an error of the service as one line, with status 1."""
        try:
            return super().invoke(ctx)
        except WebCallError as error:
            raise click.ClickException(str(error)) from None


def services() -> Services:
    """Return the services of the application that the command runs in."""
    return cast(Services, current_app.extensions["webcall"])


def echo_json(value: Any) -> None:
    """Print a value as JSON; times and ids as strings."""
    click.echo(json.dumps(as_json_value(value), indent=2, ensure_ascii=False))


def echo_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings, columns aligned."""
    lines = [list(headings), *([("-" if cell in (None, "") else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def choose(backends: Sequence[tuple[str, Any]], can: type[Any], name: str | None, setting: str) -> str:
    """Return the backend called `name`, or the first that can be written to.

    Raises `WebCallError` that names those that can.
    """
    able = [known for known, backend in backends if isinstance(backend, can)]
    if name is None:
        if able:
            return able[0]
        raise WebCallError(f"no backend in {setting} can be written to: add file or mongo there")
    if name in able:
        return name
    hint = f"; {' and '.join(able)} can be" if able else f"; add file or mongo to {setting}"
    if name in dict(backends):
        raise WebCallError(f"the backend '{name}' cannot be written to{hint}")
    raise WebCallError(f"the backend '{name}' is not in {setting}{hint}")


def parse_metadata(pairs: Iterable[str]) -> dict[str, Any]:
    """Return an object from `name=value` pairs.

    A dot in the name nests; a value that is JSON counts as such, and as text otherwise.
    """
    metadata: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not name=value, such as customer.name=Ada")
        *path, last = name.split(".")
        place = metadata
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise click.BadParameter(f"{name!r}: {step!r} has a value of its own already")
        place[last] = _value(text)
    return metadata


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def visible(record: Mapping[str, Any], hidden: Iterable[str]) -> dict[str, Any]:
    """Return a record without the fields that are never printed."""
    return {name: value for name, value in record.items() if name not in hidden}
