"""What the commands share: the services, output, one-line errors, backends by name."""

from __future__ import annotations

import errno
import json
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from flask import Flask, current_app
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
        """Run the command; print an error as one line, with status 1."""
        try:
            return super().invoke(ctx)
        except WebCallError as error:
            raise click.ClickException(printable(" ".join(str(error).split()))) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # the reader of the output has gone, `… | head`: click ends quietly
            raise click.ClickException(_place_of(error)) from error


def _place_of(error: Exception) -> str:
    # Not its text, which may quote a key or a prompt.
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"unexpected {type(error).__name__} in {place}: a defect of the service or of a plugin"


def services() -> Services:
    """Return the services of the application that the command runs in. Raises as `services_of`."""
    return services_of(current_app)


def services_of(app: Flask) -> Services:
    """Return the services of an application; `WebCallError` if it was made for the help alone."""
    if "webcall" not in app.extensions:
        raise WebCallError("the settings cannot be used, as told above")
    return cast(Services, app.extensions["webcall"])


def echo_json(value: Any) -> None:
    """Print a value as JSON: times and ids as strings, and in escapes what a terminal might obey."""
    text = json.dumps(as_json_value(value), indent=2, ensure_ascii=False)
    # The line breaks are the layout's; those in strings are escapes already.
    odd = {each for each in text if not each.isprintable()} - {"\n"}
    click.echo(text.translate({ord(each): json.dumps(each)[1:-1] for each in odd}))


def echo_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings, columns aligned."""
    lines = [list(headings), *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _cell(value: object) -> str:
    return "-" if value in (None, "") else printable(value)


def printable(value: object) -> str:
    """Return a value's text without line breaks and escape sequences for a terminal.

    What is stored may come from anybody.
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in str(value))


def note(message: str) -> None:
    """Say something beside the output, on stderr."""
    click.echo(printable(message), err=True)


def note_unlistable(backends: Sequence[tuple[str, Any]], can: type[Any]) -> None:
    """Say which backends a listing leaves out."""
    for name, backend in backends:
        if not isinstance(backend, can):
            note(f"the backend '{name}' cannot be listed and is left out")


def choose(backends: Sequence[tuple[str, Any]], can: type[Any], name: str | None, setting: str) -> str:
    """Return the backend called `name`, or the first that can be written to.

    Raises `WebCallError` that names those that can.
    """
    able = [known for known, backend in backends if isinstance(backend, can)]
    if name is None:
        if able:
            return able[0]
        raise WebCallError(f"no backend in {setting} can be written to: add file, sql or mongo there")
    if name in able:
        return name
    hint = f"; {' and '.join(able)} can be" if able else f"; add file, sql or mongo to {setting}"
    if name in dict(backends):
        raise WebCallError(f"the backend '{name}' cannot be written to{hint}")
    raise WebCallError(f"the backend '{name}' is not in {setting}{hint}")
