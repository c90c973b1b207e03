"""`flask webcall call`."""

from __future__ import annotations

import base64
import dataclasses
import json
from datetime import UTC, timedelta
from typing import Any

import click
from flask.cli import with_appcontext

from webcall.cli.arguments import Window, metadata_option
from webcall.cli.common import echo_json, json_option, note, printable, services
from webcall.config.settings import HttpConfig
from webcall.core.calls import CallRequest, Calls, PlacedCall
from webcall.core.limits import check_metadata
from webcall.core.rooms import Rooms
from webcall.errors import AssistantNotFound, LiveKitError, TextOnlyUnsupported, WebCallError
from webcall.interfaces import Caller


@click.command()
@click.argument("assistant_id", metavar="ID")
@click.option("--owner", required=True, metavar="EMAIL", help="The assistant's owner.")
@metadata_option
@click.option("--text-only", is_flag=True, help="A typed chat without audio.")
@click.option(
    "--join-window", type=Window(), help="How long the token is good; the configured time if not given."
)
@json_option
@with_appcontext
def call(
    assistant_id: str,
    owner: str,
    metadata: dict[str, Any],
    text_only: bool,
    join_window: timedelta | None,
    as_json: bool,
) -> None:
    """Place a call from the shell: make the room, send the assistant, print room, token and a link."""
    request = CallRequest(assistant_id.strip(), metadata, text_only)
    try:
        placed = place_call(request, owner, join_window)
    except WebCallError as error:
        raise click.ClickException(printable(_words(error))) from None
    finally:
        services().close()
    expires = placed.expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    answer = {
        "room_name": placed.room_name,
        "token": placed.token,
        "server_url": placed.server_url,
        "expires_at": expires,
        "playground_url": playground_link(services().config.http, placed),
    }
    if as_json:
        echo_json(answer)
        return
    for name, value in answer.items():
        if value is not None:
            click.echo(f"{name}: {value}")
    if answer["playground_url"] is None:
        note("no link: the playground is off; WEBCALL_PLAYGROUND=true (http.playground) switches it on")
        return
    window = join_window or timedelta(seconds=services().config.call.join_window_s)
    note(f"the link is good for {window.total_seconds():g} s, and whoever has it can join")


def playground_link(http: HttpConfig, placed: PlacedCall) -> str | None:
    """Return the address that opens the playground on this call; None where there is no playground.

    It holds the token behind the `#`, which browsers do not send to a server.
    """
    if not http.playground:
        return None
    call = {"room_name": placed.room_name, "token": placed.token, "server_url": placed.server_url}
    text = json.dumps(call, separators=(",", ":")).encode()
    return f"{http.page_url}/playground#call={base64.urlsafe_b64encode(text).decode().rstrip('=')}"


def place_call(request: CallRequest, owner: str, join_window: timedelta | None) -> PlacedCall:
    """Place a call for `owner`, with a join window of its own if one is given.

    Raises as `Calls.place` does.
    """
    check_metadata(dict(request.metadata))
    config = services().config
    if join_window is not None:
        window = dataclasses.replace(config.call, join_window_s=int(join_window.total_seconds()))
        config = dataclasses.replace(config, call=window)
    calls = Calls(config, services().assistants, Rooms(services().livekit, config.call))
    return calls.place(Caller(email=owner), request)


def _words(error: WebCallError) -> str:
    if isinstance(error, AssistantNotFound):
        return "this owner has no active assistant of this id; `flask webcall assistants list` shows them"
    if isinstance(error, TextOnlyUnsupported):
        return "this assistant speaks in real time and has no typed chat"
    if isinstance(error, LiveKitError):
        return f"LiveKit: {error}; `flask webcall check` tells more"
    return " ".join(str(error).split())
