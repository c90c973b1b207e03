"""`flask webcall call`."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, timedelta

import click
from flask.cli import with_appcontext

from webcall.cli.common import echo_json, json_option, parse_metadata, services
from webcall.core.calls import CallRequest, Calls, PlacedCall
from webcall.core.limits import check_metadata
from webcall.core.rooms import Rooms
from webcall.errors import AssistantNotFound, TextOnlyUnsupported, WebCallError
from webcall.interfaces import Caller

_UNITS = {"s": 1, "m": 60, "h": 3600}


class Duration(click.ParamType[timedelta]):
    """A length of time such as 10m."""

    name = "DURATION"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the length."""
        match = re.fullmatch(r"(\d{1,5})([smh])", value)
        if not match or not int(match[1]):
            self.fail("not a length of time such as 90s, 10m or 2h", param, ctx)
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


@click.command()
@click.argument("assistant_id", metavar="ID")
@click.option("--owner", required=True, metavar="EMAIL", help="The assistant's owner.")
@click.option(
    "--metadata", "pairs", multiple=True, metavar="NAME=VALUE", help="May be repeated; a dot nests."
)
@click.option("--text-only", is_flag=True, help="A typed chat without audio.")
@click.option(
    "--join-window", type=Duration(), help="How long the token is good; the configured time if not given."
)
@json_option
@with_appcontext
def call(
    assistant_id: str,
    owner: str,
    pairs: tuple[str, ...],
    text_only: bool,
    join_window: timedelta | None,
    as_json: bool,
) -> None:
    """Place a call from the shell: make the room, send the assistant, print room and token."""
    request = CallRequest(assistant_id.strip(), parse_metadata(pairs), text_only)
    try:
        placed = place_call(request, owner, join_window)
    except WebCallError as error:
        raise click.ClickException(_words(error, owner)) from None
    finally:
        services().close()
    expires = placed.expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    answer = {
        "room_name": placed.room_name,
        "token": placed.token,
        "server_url": placed.server_url,
        "expires_at": expires,
    }
    if as_json:
        echo_json(answer)
        return
    for name, value in answer.items():
        click.echo(f"{name}: {value}")


def place_call(request: CallRequest, owner: str, join_window: timedelta | None) -> PlacedCall:
    """Place a call for `owner`, with a join window of its own if one is given."""
    check_metadata(dict(request.metadata))
    config = services().config
    if join_window is not None:
        window = dataclasses.replace(config.call, join_window_s=int(join_window.total_seconds()))
        config = dataclasses.replace(config, call=window)
    calls = Calls(config, services().assistants, Rooms(services().livekit, config.call))
    return calls.place(Caller(email=owner), request)


def _words(error: WebCallError, owner: str) -> str:
    if isinstance(error, AssistantNotFound):
        return f"{owner} has no active assistant of this id; `flask webcall assistants list` shows them"
    if isinstance(error, TextOnlyUnsupported):
        return "this assistant speaks in real time and has no typed chat"
    return str(error)
