"""`flask webcall watch`."""

from __future__ import annotations

import asyncio

import click
from flask.cli import with_appcontext

from webcall.cli.common import services
from webcall.core.watch import serving


@click.command()
@with_appcontext
def watch() -> None:
    """See to it that everybody in a room has one assistant, and that calls end. Runs until it is stopped.

    Takes LiveKit's events on watch.bind, and works without them, slower. Several watchers at once need
    limits.storage_uri (WEBCALL_LIMITS_STORAGE) to be a Redis, the same for all.
    """
    try:
        asyncio.run(serving.watch(services().config, services().livekit))
    finally:
        services().close()
