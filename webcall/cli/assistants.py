"""`flask webcall assistants …`."""

from __future__ import annotations

import sys
from typing import IO, Any

import click

from webcall.cli.arguments import metadata_option
from webcall.cli.common import (
    Group,
    backend_option,
    choose,
    echo_json,
    echo_table,
    json_option,
    note,
    note_unlistable,
    printable,
    services,
    yes_option,
)
from webcall.cli.definition_files import read_definitions
from webcall.core import definitions as core
from webcall.errors import WebCallError
from webcall.interfaces import ListsAssistants, ManagesAssistants

SETTING = "assistants.stores"

assistants = Group("assistants", help="Store, check and show assistants.")


@assistants.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
@backend_option
def put(file: IO[str], backend: str | None) -> None:
    """Store the definitions in FILE (YAML or JSON, one or a list; - is standard input)."""
    stores = services().stores()
    chosen = choose(stores, ManagesAssistants, backend, SETTING)
    records = read_definitions(file)
    if _report(records):
        raise WebCallError("nothing was stored")
    for assistant_id in core.put_definitions(stores, chosen, records):
        click.echo(f"stored {assistant_id} by the backend '{chosen}'")


@assistants.command()
@click.argument("file", type=click.File("r", encoding="utf-8"))
def check(file: IO[str]) -> None:
    """Look for mistakes in FILE and store nothing. Ends with status 1 if there is one."""
    records = read_definitions(file)
    if _report(records):
        sys.exit(1)
    click.echo(f"{len(records)} checked: good")


def _report(records: list[Any]) -> bool:
    reports = core.check_definitions(records, services().config.worker)
    for position, (record, report) in enumerate(zip(records, reports, strict=True), start=1):
        name = record.get("assistant_id") if isinstance(record, dict) else None
        told = name if isinstance(name, str) and name else f"definition {position}"
        for fault in report.faults:
            note(f"{told}: {fault}")
        for warning in report.warnings:
            note(f"{told}: warning: {warning}")
    return any(report.faults for report in reports)


@assistants.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the assistants of every store: id, name, owner, mode, state."""
    stores = services().stores()
    names = ("assistant_id", "assistant_name", "assistant_created_by_email", "assistant_mode")
    rows = [
        {name: record.get(name) for name in names}
        | {"assistant_is_active": record.get("assistant_is_active", True), "backend": backend}
        for backend, record in core.list_definitions(stores)
    ]
    note_unlistable(stores, ListsAssistants)
    if as_json:
        echo_json(rows)
        return
    echo_table(("id", "name", "owner", "mode", "active", "backend"), (list(row.values()) for row in rows))


@assistants.command()
@click.argument("assistant_id", metavar="ID")
def show(assistant_id: str) -> None:
    """Print a definition as JSON, as it is stored; `assistants put` takes it back."""
    [(backend, record), *others] = core.find_definitions(services().stores(), assistant_id)
    echo_json({name: value for name, value in record.items() if name != "_id"})
    _note_others(backend, others)


@assistants.command()
@click.argument("assistant_id", metavar="ID")
@yes_option
def delete(assistant_id: str, yes: bool) -> None:
    """Remove a definition."""
    stores = services().stores()
    [(backend, record), *others] = core.find_definitions(stores, assistant_id)
    core.manager_of(stores, backend)  # before asking for what cannot be done
    if not yes:
        owner = record.get("assistant_created_by_email")
        question = f"Delete the assistant {assistant_id} of {owner} from '{backend}'?"
        click.confirm(printable(question), abort=True, err=True)
    core.delete_definition(stores, backend, assistant_id)
    click.echo(f"deleted {assistant_id} from the backend '{backend}'")
    _note_others(backend, others)


@assistants.command()
@click.argument("assistant_id", metavar="ID")
@metadata_option
@click.option("--text-only", is_flag=True, help="As for a typed chat.")
@json_option
def render(assistant_id: str, metadata: dict[str, Any], text_only: bool, as_json: bool) -> None:
    """Print the prompt as the assistant would get it in a call with this metadata."""
    stores = services().stores()
    texts = core.render(stores, assistant_id, metadata, text_only=text_only)
    if as_json:
        echo_json(texts)
    elif not texts:
        note("the assistant has neither a prompt nor a start instruction")
    else:
        for name, text in texts.items():
            click.echo(f"{name}:\n{text}\n" if len(texts) > 1 else text)
    [(backend, _), *others] = core.find_definitions(stores, assistant_id)
    _note_others(backend, others)


def _note_others(backend: str, others: list[tuple[str, Any]]) -> None:
    if others:
        names = ", ".join(name for name, _ in others)
        note(f"this was the one in '{backend}'; the same id is in {names} too")
