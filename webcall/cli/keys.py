"""`flask webcall keys …`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from webcall.cli.arguments import Moment, Overlap
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
from webcall.core import keys as core
from webcall.core.new_keys import NewKey
from webcall.errors import WebCallError
from webcall.interfaces import ListsKeys, ManagesKeys
from webcall.records import PREFIX_LENGTH, as_json_value, hash_api_key

SETTING = "auth.validators"

# What `keys list --json` prints: these and no more, since an old record may hold a key in any field.
_SHOWN = (
    "user_email",
    "user_name",
    "org_name",
    "created_at",
    "expires_at",
    "is_active",
    "allowed_assistants",
    "allowed_origins",
    "allowed_metadata",
    "rate_limit",
    "max_concurrent_calls",
    "native",
    "replaced_by",
)
_RESTRICTIONS = (
    ("allowed_origins", "origins"),
    ("allowed_metadata", "metadata"),
    ("rate_limit", "rate"),
    ("max_concurrent_calls", "calls at once"),
)

keys = Group("keys", help="Create, list and revoke API keys.")


@keys.command()
@click.option("--owner", required=True, metavar="EMAIL", help="Whose assistants the key may call.")
@click.option("--name", help="The owner's name.")
@click.option("--org", help="The owner's organisation.")
@click.option("--expires", type=Moment(), help="When it stops: 90d, 12h, or a date.")
@click.option(
    "--assistant", "assistants", multiple=True, metavar="ID", help="Only this one; may be repeated."
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="Pages of this origin only, https://shop.example.com or https://*.example.com; may be repeated.",
)
@click.option("--rate", metavar="RATE", help="How many requests, such as 60/minute.")
@click.option("--max-concurrent", type=int, metavar="N", help="How many calls at once.")
@click.option(
    "--publishable", is_flag=True, help="For web pages; needs --assistant, and --origin or --native."
)
@click.option("--native", is_flag=True, help="With --publishable: for apps on a phone, which send no origin.")
@click.option(
    "--metadata",
    "metadata_names",
    multiple=True,
    metavar="NAME",
    help="Metadata of this name only; may be repeated. Without it a publishable key takes none.",
)
@backend_option
def create(backend: str | None, expires: datetime | None, **wish: Any) -> None:
    """Make a key and print it, once: only its hash is stored."""
    validators = services().validators()
    chosen = choose(validators, ManagesKeys, backend, SETTING)
    manager = core.manager_of(validators, chosen)
    new = NewKey(expires_at=expires, **wish)
    api_key = core.create_key(manager, new)
    if "@" not in new.owner:
        note("warning: the owner is no email address: the key is for assistants of this very owner")
    try:
        _show_once(api_key, chosen)
    except _NotShown:
        # Nobody has seen it, and nobody will.
        manager.update_key(hash_api_key(api_key), {"is_active": False})
        raise WebCallError("the key could not be printed, and was revoked: run the command again") from None
    for assistant_id in core.unknown_assistants(services().stores(), new):
        note(f"warning: {new.owner} has no assistant {assistant_id} yet: calls to it are refused till then")


class _NotShown(WebCallError):
    pass


def _show_once(api_key: str, backend: str) -> None:
    try:
        # Alone on stdout, so that a script can take it from there.
        click.echo(api_key)
    except OSError:
        raise _NotShown("the key could not be printed") from None
    note(f"Stored as a hash by the backend '{backend}'. The key is shown this once: keep it now.")


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys: id, owner, created, state; never the keys."""
    validators = services().validators()
    rows = [_row(entry) for entry in core.list_keys(validators)]
    note_unlistable(validators, ListsKeys)
    if as_json:
        echo_json(rows)
        return
    fields = ("id", "user_email", "user_name", "created_at", "expires_at", "state", "allowed_assistants")
    headings = ("id", "owner", "name", "created", "expires", "state", "assistants", "restrictions", "backend")
    echo_table(
        headings,
        ([*(_cell(row.get(name)) for name in fields), _restrictions(row), row["backend"]] for row in rows),
    )


def _row(entry: core.KeyEntry) -> dict[str, Any]:
    shown = {name: entry.record[name] for name in _SHOWN if name in entry.record}
    return {"id": entry.id, "state": entry.state, "backend": entry.backend} | shown


def _restrictions(row: dict[str, Any]) -> str:
    """Return what narrows a key, beside its assistants, for a column of the table."""
    told = [
        f"{word} {_cell(row[name]) or 'none'}" for name, word in _RESTRICTIONS if row.get(name) is not None
    ]
    return "; ".join([*told, *(["native"] if row.get("native") else [])])


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


@keys.command()
@click.argument("key_id", metavar="PREFIX-OR-ID")
@yes_option
def revoke(key_id: str, yes: bool) -> None:
    """Make a key unusable, for good."""
    validators = services().validators()
    entries = core.find_key(validators, key_id)
    for entry in entries:
        core.manager_of(validators, entry.backend)  # before asking for what cannot be done
    if not yes:
        question = f"Revoke the key {entries[0].id} of {entries[0].record.get('user_email')}?"
        click.confirm(printable(question), abort=True, err=True)
    core.revoke_key(validators, entries)
    click.echo(printable(f"revoked {entries[0].id}"))
    _note_cache(entries)


@keys.command()
@click.argument("key_id", metavar="PREFIX-OR-ID")
@click.option("--overlap", type=Overlap(), help="How long the old one goes on working, such as 24h.")
@yes_option
def rotate(key_id: str, overlap: timedelta | None, yes: bool) -> None:
    """Replace a key by a new one with the same owner, restrictions and limits.

    Without --overlap the old one stops at once.
    """
    validators = services().validators()
    entries = core.find_key(validators, key_id)
    for entry in entries:
        core.manager_of(validators, entry.backend)
    if not yes:
        end = f"after {overlap}" if overlap else "at once"
        question = f"Replace the key {entries[0].id}? The old one stops {end}."
        click.confirm(printable(question), abort=True, err=True)
    shown = []

    def show(api_key: str) -> None:
        _show_once(api_key, entries[0].backend)
        shown.append(api_key[:PREFIX_LENGTH])

    try:
        rotated = core.rotate_key(validators, entries, overlap or timedelta(), show)
    except _NotShown:
        raise WebCallError(
            "the new key could not be printed; nobody has it, and the old one is as it was"
        ) from None
    except Exception:
        if shown:
            note(f"Do not use the new key, {shown[0]}: the old one could not be stopped.")
        raise
    stopped = (
        "has stopped"
        if rotated.old_stops_at is None
        else f"works until {as_json_value(rotated.old_stops_at)}"
    )
    note(f"The old one, {entries[0].id}, {stopped}.")
    if rotated.old_stops_at is None:
        _note_cache(entries)


def _note_cache(entries: Sequence[core.KeyEntry]) -> None:
    """Tell how much longer services that keep answers of these backends may take the key."""
    chosen = {each.backend.name: each.cache for each in services().setup.validators}
    caches = [chosen[entry.backend] for entry in entries]
    if longest := max(cache.cache_s for cache in caches):
        note(f"A running service keeps its answers: the key may work for up to {longest:g} s more.")
    stale = [cache.cache_s + cache.stale_if_error_s for cache in caches if cache.stale_if_error_s]
    if stale:
        note(f"Where it cannot reach the backend meanwhile, for up to {max(stale):g} s.")


@keys.command("hash-plain")
def hash_plain() -> None:
    """Turn the plain keys of an existing deployment into hashes; they go on working."""
    validators = services().validators()
    choose(validators, ManagesKeys, None, SETTING)
    faults = []
    for backend, done in core.hash_plain_keys(validators).items():
        click.echo(f"{backend}: {done.count} plain keys hashed")
        faults += [f"{backend}: {fault}" for fault in done.faults]
    if faults:
        raise WebCallError("some keys are still plain: " + "; ".join(faults))
