"""`flask webcall keys …`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

from webcall.cli.common import (
    Group,
    backend_option,
    choose,
    echo_json,
    echo_table,
    json_option,
    services,
    visible,
    yes_option,
)
from webcall.core import keys as core
from webcall.interfaces import ManagesKeys

SETTING = "auth.validators"
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_HIDDEN = ("_id", "api_key", "api_key_hash")

keys = Group("keys", help="Create, list and revoke API keys.")


class Moment(click.ParamType[datetime]):
    """A time from now such as 90d, or a date."""

    name = "TIME"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the moment, in UTC."""
        match = re.fullmatch(r"(\d{1,6})([mhdw])", value)
        try:
            if match:
                return datetime.now(UTC).replace(microsecond=0) + timedelta(
                    **{_UNITS[match[2]]: int(match[1])}
                )
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail("not a time such as 90d, 12h, 30m, 2w, 2030-01-31 or 2030-01-31T12:00:00Z", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment <= datetime.now(UTC):
            self.fail("is in the past", param, ctx)
        return moment


@keys.command()
@click.option("--owner", required=True, metavar="EMAIL", help="Whose assistants the key may call.")
@click.option("--name", help="The owner's name.")
@click.option("--org", help="The owner's organisation.")
@click.option("--expires", type=Moment(), help="When it stops: 90d, 12h, or a date.")
@click.option(
    "--assistant", "assistants", multiple=True, metavar="ID", help="Only this one; may be repeated."
)
@backend_option
def create(
    owner: str,
    name: str | None,
    org: str | None,
    expires: datetime | None,
    assistants: tuple[str, ...],
    backend: str | None,
) -> None:
    """Make a key and print it, once: only its hash is stored."""
    validators = services().validators()
    chosen = choose(validators, ManagesKeys, backend, SETTING)
    api_key = core.create_key(
        dict(validators)[chosen],  # type: ignore[arg-type]  # choose saw that it is a ManagesKeys
        owner=owner,
        name=name,
        org=org,
        expires_at=expires,
        assistants=assistants,
    )
    _show_once(api_key, chosen)


def _show_once(api_key: str, backend: str) -> None:
    click.echo(api_key)
    click.echo(
        f"Stored as a hash by the backend '{backend}'. The key is shown this once: keep it now.", err=True
    )


@keys.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the keys: id, owner, created, state; never the keys."""
    entries = list(core.list_keys(services().validators()))
    if as_json:
        echo_json(
            [
                {"id": entry.id, "state": entry.state, "backend": entry.backend}
                | visible(entry.record, _HIDDEN)
                for entry in entries
            ]
        )
        return
    rows = (
        (
            entry.id,
            entry.record.get("user_email"),
            entry.record.get("user_name"),
            entry.record.get("created_at"),
            entry.record.get("expires_at"),
            entry.state,
            ", ".join(entry.record.get("allowed_assistants") or ()),
            entry.backend,
        )
        for entry in entries
    )
    echo_table(("id", "owner", "name", "created", "expires", "state", "assistants", "backend"), rows)


@keys.command()
@click.argument("key_id", metavar="PREFIX-OR-ID")
@yes_option
def revoke(key_id: str, yes: bool) -> None:
    """Make a key unusable, for good."""
    validators = services().validators()
    entry = core.find_key(validators, key_id)
    if not yes:
        click.confirm(f"Revoke the key {entry.id} of {entry.record.get('user_email')}?", abort=True)
    core.revoke_key(validators, entry)
    click.echo(f"revoked {entry.id}")


@keys.command()
@click.argument("key_id", metavar="PREFIX-OR-ID")
@yes_option
def rotate(key_id: str, yes: bool) -> None:
    """Replace a key by a new one with the same owner and limits; the old one stops at once."""
    validators = services().validators()
    entry = core.find_key(validators, key_id)
    if not yes:
        click.confirm(f"Replace the key {entry.id}? The old one stops at once.", abort=True)
    _show_once(core.rotate_key(validators, entry), entry.backend)


@keys.command("hash-plain")
def hash_plain() -> None:
    """Turn the plain keys of an existing deployment into hashes; they go on working."""
    done = core.hash_plain_keys(services().validators())
    if not done:
        choose(services().validators(), ManagesKeys, None, SETTING)
    for backend, count in done.items():
        click.echo(f"{backend}: {count} plain keys hashed")
