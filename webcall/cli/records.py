"""`flask webcall records …`: keys and assistants from one place to another."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import click

from webcall.cli.common import Group, echo_json, json_option, note, printable, services
from webcall.core.moving import Moved, Mover
from webcall.core.portable import BackendSource, Kind, Source
from webcall.core.records_file import ImportSource, export_lines
from webcall.errors import WebCallError
from webcall.interfaces import ListsAssistants, ListsKeys, ManagesAssistants, ManagesKeys

TOLD_EVERY = 10_000

records = Group("records", help="Copy, export and import keys and assistants.")

only_option = click.option(
    "--only", type=click.Choice(["keys", "assistants"]), help="These alone; without it both."
)
update_option = click.option("--update", is_flag=True, help="Write over what the target has otherwise.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")

Side = Literal["validators", "stores"]
SIDES: Mapping[str, Side] = {"keys": "validators", "assistants": "stores"}
LIST: Mapping[str, Any] = {"keys": ListsKeys, "assistants": ListsAssistants}
WRITE: Mapping[str, Any] = {"keys": ManagesKeys, "assistants": ManagesAssistants}
CANNOT_LIST = "cannot list its {}: nothing can be copied from it"
CANNOT_WRITE = "is read-only: it takes no {}; file, mongo and sql do"
KINDS: Mapping[str | None, Kind] = {"keys": "key", "assistants": "assistant"}


@records.command()
@click.option("--from", "source", required=True, metavar="NAME", help="The backend to copy from.")
@click.option("--to", "target", required=True, metavar="NAME", help="The backend to copy to.")
@only_option
@update_option
@dry_run_option
@json_option
def copy(source: str, target: str, only: str | None, update: bool, dry_run: bool, as_json: bool) -> None:
    """Copy keys, as hashes, and assistants from one backend to another; nothing is deleted.

    Neither has to be in use. May be run again. Ends with status 1 if a record was left out.
    """
    if source == target:
        raise WebCallError("--from and --to name the same backend")
    found = BackendSource(**_sides(source, only, LIST, CANNOT_LIST))
    _move(found, target, only, update, dry_run, as_json)


@records.command("export")
@click.option("--from", "source", metavar="NAME", help="The backend to read; without it the first in use.")
@only_option
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
def export_(source: str | None, only: str | None, file: str) -> None:
    """Write keys, as hashes, and assistants to FILE (- is standard output) as JSON lines.

    Hashes and prompts are in it: FILE is readable by its owner only.
    """
    lines = export_lines(BackendSource(**_sides(source, only, LIST, CANNOT_LIST)))
    if source is None:
        _note_unread(only)
    if file == "-" or (Path(file).exists() and not Path(file).is_file()):
        with click.open_file(file, "w", encoding="utf-8") as out:
            for line in lines:
                click.echo(line, file=out)
        return
    count = _write(Path(file).resolve(), lines)
    note(f"exported {count} records to {file}: it holds prompts and the hashes of keys, so keep it private")


@records.command("import")
@click.option("--to", "target", metavar="NAME", help="The backend to write to; without it the first in use.")
@only_option
@update_option
@dry_run_option
@json_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def import_(
    target: str | None, only: str | None, update: bool, dry_run: bool, as_json: bool, file: str
) -> None:
    """Store the records of an exported FILE (- is standard input), by the rules of `copy`.

    All lines are checked before the first is stored; a record that cannot be used is left out.
    """
    with _readable(file) as path:
        _move(ImportSource(lambda: _lines(path)), target, only, update, dry_run, as_json)


def _sides(name: str | None, only: str | None, able: Mapping[str, Any], cannot: str) -> dict[str, Any]:
    """Return the wanted sides of a backend, those that it has, or of the first in use that is able.

    Raises `WebCallError` if a side cannot what is wanted, and if there is none at all.
    """
    wanted = [what for what in SIDES if only in (None, what)]
    if name is None:
        found = {what: _first_in_use(what, able[what]) for what in wanted}
        if not any(found.values()):
            raise WebCallError("no backend in use can do this: name one with --from or --to")
        return found
    plugins = services().plugins
    offered = {"keys": plugins.validators, "assistants": plugins.stores}
    # Of one that offers neither, the first says which there are.
    has = [what for what in wanted if name in offered[what]] or wanted[:1]
    sides = {what: services().side(SIDES[what], name) for what in has}
    for what, side in sides.items():
        if not isinstance(side, able[what]):
            raise WebCallError(f"the backend '{name}' {cannot.format(what)}")
    return sides


def _first_in_use(what: str, able: Any) -> Any:
    return next((side for _, side in _in_use(what, able)), None)


def _in_use(what: str, able: Any) -> list[tuple[str, Any]]:
    in_use = services().validators() if what == "keys" else services().stores()
    return [(name, side) for name, side in in_use if isinstance(side, able)]


def _note_unread(only: str | None) -> None:
    """Say of which backends an export without --from has nothing: it may be meant for a backup."""
    for what in SIDES:
        first, *others = [name for name, _ in _in_use(what, LIST[what])] or [""]
        if others and only in (None, what):
            note(f"{what}: those of '{first}' alone; --from exports those of {', '.join(others)}")


def _move(
    source: Source, target: str | None, only: str | None, update: bool, dry_run: bool, as_json: bool
) -> None:
    def told(number: int) -> None:
        if number % TOLD_EVERY == 0:
            note(f"{number} records so far")

    sides = _sides(target, only, WRITE, CANNOT_WRITE)
    moved = Mover(**sides, only=KINDS.get(only), update=update, dry_run=dry_run).move(source, told)
    if as_json:
        left_out = [{"kind": kind, "id": name, "why": why} for kind, name, why in moved.left_out]
        echo_json({"dry_run": dry_run, "counts": moved.counts, "left_out": left_out})
    else:
        _tell(moved, dry_run)
    if moved.left_out:
        sys.exit(1)


def _tell(moved: Moved, dry_run: bool) -> None:
    if dry_run:
        click.echo("dry run: nothing was written")
    for outcome, count in sorted(moved.counts.items()):
        click.echo(f"{outcome}: {count}")
    for kind, name, why in moved.left_out:
        click.echo(f"left out: {kind} {printable(name)}: {printable(why)}")
    if not moved.counts and not moved.left_out:
        click.echo("there is nothing to copy")


def _write(path: Path, lines: Iterator[str]) -> int:
    """Write lines to a file that is there whole or not at all; return how many records they are."""
    count = -1  # the header is none
    temporary = ""
    try:
        # mkstemp's file is its owner's alone.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            for line in lines:
                file.write(line + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise WebCallError(f"{path}: cannot be written: {error.strerror}") from None
        raise
    return count


@contextlib.contextmanager
def _readable(file: str) -> Iterator[Path]:
    """Give a file that can be read twice."""
    if file != "-" and Path(file).is_file():
        yield Path(file)
        return
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as kept:
        with click.open_file(file, "rb") as given:
            shutil.copyfileobj(given, kept)
        kept.flush()
        yield Path(kept.name)


def _lines(path: Path) -> Iterator[str]:
    try:
        # A line ends where JSON lines end, whatever a prompt holds.
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from file
    except UnicodeDecodeError:
        raise WebCallError("the file is not UTF-8 text: export it again") from None
