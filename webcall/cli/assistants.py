"""`flask webcall assistants …`."""

from __future__ import annotations

import sys
from typing import IO, Any

import click
import yaml

from webcall.cli.common import (
    Group,
    backend_option,
    choose,
    echo_json,
    echo_table,
    json_option,
    parse_metadata,
    services,
    visible,
    yes_option,
)
from webcall.core import definitions as core
from webcall.interfaces import ManagesAssistants

SETTING = "assistants.stores"

assistants = Group("assistants", help="Store, check and show assistants.")


def read_definitions(file: IO[str]) -> list[Any]:
    """Return the definitions in a YAML or JSON file: one, or a list."""
    try:
        found = yaml.safe_load(file.read())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise click.ClickException(f"{file.name}: neither YAML nor JSON{where}") from None
    return found if isinstance(found, list) else [found]


def _told(record: Any) -> str:
    return str(record.get("assistant_id", "?")) if isinstance(record, dict) else "?"


@assistants.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
@backend_option
def put(file: IO[str], backend: str | None) -> None:
    """Store the definition in FILE (YAML or JSON, one or a list; - is standard input)."""
    stores = services().stores()
    chosen = choose(stores, ManagesAssistants, backend, SETTING)
    records = read_definitions(file)
    # All are looked at before the first is stored.
    if _report(records):
        raise click.ClickException("nothing was stored")
    for record in records:
        core.put_definition(stores, chosen, record)
        click.echo(f"stored {_told(record)} by the backend '{chosen}'")


@assistants.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
def check(file: IO[str]) -> None:
    """Look for mistakes in FILE and store nothing. Ends with status 1 if there is one."""
    records = read_definitions(file)
    if _report(records):
        sys.exit(1)
    click.echo(f"{len(records)} checked: good")


def _report(records: list[Any]) -> bool:
    faulty = False
    for record in records:
        report = core.check_definition(record)
        faulty |= bool(report.faults)
        for fault in report.faults:
            click.echo(f"{_told(record)}: {fault}", err=True)
        for warning in report.warnings:
            click.echo(f"{_told(record)}: warning: {warning}", err=True)
    return faulty


@assistants.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the assistants of every store: id, name, owner, mode, state."""
    found = list(core.list_definitions(services().stores()))
    names = ("assistant_id", "assistant_name", "assistant_created_by_email", "assistant_mode")
    rows = [
        {name: record.get(name) for name in names}
        | {"assistant_is_active": record.get("assistant_is_active", True), "backend": backend}
        for backend, record in found
    ]
    if as_json:
        echo_json(rows)
        return
    echo_table(("id", "name", "owner", "mode", "active", "backend"), (list(row.values()) for row in rows))


@assistants.command()
@click.argument("assistant_id", metavar="ID")
def show(assistant_id: str) -> None:
    """Print a definition as JSON, as it is stored."""
    _, record = core.find_definition(services().stores(), assistant_id)
    echo_json(visible(record, ("_id",)))


@assistants.command()
@click.argument("assistant_id", metavar="ID")
@yes_option
def delete(assistant_id: str, yes: bool) -> None:
    """Remove a definition."""
    stores = services().stores()
    backend, record = core.find_definition(stores, assistant_id)
    if not yes:
        owner = record.get("assistant_created_by_email")
        click.confirm(f"Delete the assistant {assistant_id} of {owner} from '{backend}'?", abort=True)
    core.delete_definition(stores, backend, assistant_id)
    click.echo(f"deleted {assistant_id} from the backend '{backend}'")


@assistants.command()
@click.argument("assistant_id", metavar="ID")
@click.option(
    "--metadata", "pairs", multiple=True, metavar="NAME=VALUE", help="May be repeated; a dot nests."
)
@click.option("--text-only", is_flag=True, help="As for a typed chat.")
@json_option
def render(assistant_id: str, pairs: tuple[str, ...], text_only: bool, as_json: bool) -> None:
    """Print the prompt as the assistant would get it in a call with this metadata."""
    metadata = parse_metadata(pairs)
    texts = core.render(services().stores(), assistant_id, metadata, text_only=text_only)
    if as_json:
        echo_json(texts)
        return
    for name, text in texts.items():
        click.echo(f"{name}:\n{text}\n" if len(texts) > 1 else text)
