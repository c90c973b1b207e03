"""`flask webcall records …`: keys and assistants from one place to another."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click

from webcall.cli.common import Group, echo_json, json_option, note, services
from webcall.core.moving import BackendSource, ImportSource, Moved, Mover, Source, export_lines
from webcall.errors import WebCallError

TOLD_EVERY = 10_000

records = Group("records", help="Copy, export and import keys and assistants.")

only_option = click.option(
    "--only", type=click.Choice(["keys", "assistants"]), help="These alone; without it both."
)
update_option = click.option("--update", is_flag=True, help="Write over what the target has otherwise.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
Side = Literal["validators", "stores"]


@records.command()
@click.option("--from", "source", required=True, metavar="NAME", help="The backend to copy from.")
@click.option("--to", "target", required=True, metavar="NAME", help="The backend to copy to.")
@only_option
@update_option
@dry_run_option
@json_option
def copy(source: str, target: str, only: str | None, update: bool, dry_run: bool, as_json: bool) -> None:
    """Copy keys, as hashes, and assistants from one backend to another; nothing is deleted.

    May be run again. Ends with status 1 if a record was left out.
    """
    if source == target:
        raise WebCallError("--from and --to name the same backend")
    found = BackendSource(source, **_sides(source, only))
    _move(found, Mover(target, **_sides(target, only), update=update, dry_run=dry_run), dry_run, as_json)


@records.command("export")
@click.option("--from", "source", required=True, metavar="NAME", help="The backend to read.")
@only_option
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
def export_(source: str, only: str | None, file: str) -> None:
    """Write keys, as hashes, and assistants to FILE (- is standard output) as JSON lines.

    Prompts are in it: FILE is readable by its owner only.
    """
    lines = export_lines(BackendSource(source, **_sides(source, only)))
    if file == "-":
        for line in lines:
            click.echo(line)
        return
    count = _write(Path(file), lines)
    note(f"exported {count} records to {file}: keep it as secret as the prompts in it")


@records.command("import")
@click.option("--to", "target", required=True, metavar="NAME", help="The backend to write to.")
@only_option
@update_option
@dry_run_option
@json_option
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
def import_(target: str, only: str | None, update: bool, dry_run: bool, as_json: bool, file: str) -> None:
    """Store the records of an exported FILE (- is standard input), by the rules of `copy`.

    All lines are checked before the first is stored.
    """
    mover = Mover(target, **_sides(target, only), update=update, dry_run=dry_run)
    with _readable(file) as path:
        _move(ImportSource(lambda: _lines(path)), mover, dry_run, as_json)


def _sides(name: str, only: str | None) -> dict[str, Any]:
    """Return the wanted sides of a backend, those that it has; `ConfigError` if it has none of them."""
    plugins = services().plugins
    wanted: dict[str, tuple[Side, bool]] = {
        "keys": ("validators", name in plugins.validators),
        "assistants": ("stores", name in plugins.stores),
    }
    chosen = {what: side for what, (side, there) in wanted.items() if only in (None, what) and there}
    if not chosen:
        # Says which there are.
        services().side("stores" if only == "assistants" else "validators", name)
    return {what: services().side(side, name) for what, side in chosen.items()}


def _move(source: Source, mover: Mover, dry_run: bool, as_json: bool) -> None:
    def told(number: int) -> None:
        if number % TOLD_EVERY == 0:
            note(f"{number} records so far")

    moved = mover.move(source, told)
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
        shown = name if name.isprintable() else ascii(name)
        click.echo(f"left out: {kind} {shown}: {why}")
    if not moved.counts and not moved.left_out:
        click.echo("there is nothing to copy")


def _write(path: Path, lines: Iterator[str]) -> int:
    """Write lines to a file that is there whole or not at all; return how many records they are."""
    count = -1  # the header is none
    # mkstemp's file is its owner's alone.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            for line in lines:
                file.write(line + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return count


@contextlib.contextmanager
def _readable(file: str) -> Iterator[Path]:
    """Give a file that can be read twice."""
    if file != "-":
        yield Path(file)
        return
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".jsonl") as kept:
        for line in sys.stdin:
            kept.write(line)
        kept.flush()
        yield Path(kept.name)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except UnicodeDecodeError:
        raise WebCallError("the file is not UTF-8 text: export it again") from None
