"""`python -m webcall.worker start`: run assistants until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from webcall import logs
from webcall.config.settings import Config
from webcall.core.livekit import LiveKit
from webcall.errors import ConfigError, LiveKitError
from webcall.startup import settings_only

_USAGE = "usage: python -m webcall.worker start"


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 after a signal, 1 if the worker failed, 2 for an operator's mistake."""
    if arguments != ["start"]:
        click.echo(_USAGE, err=True)
        return 2
    try:
        config = settings_only()
    except ConfigError as error:
        click.echo("\n".join(error.faults), err=True)
        return 2
    logs.configure(config.log)
    if fault := _credentials(config):
        click.echo(fault, err=True)
        return 2
    # Before livekit-agents is imported: models that are not used here would take 244 MB a process.
    os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
    try:
        from webcall.worker.server import Worker
    except ModuleNotFoundError as error:
        name = error.name or "a package"
        needs = "the worker needs `.venv/bin/pip install '.[worker]'`, in the checkout"
        click.echo(f"{name} is not installed: {needs}", err=True)
        return 2
    asyncio.run(Worker(config).run())
    return 0


def _credentials(config: Config) -> str | None:
    """Return what LiveKit has against the credentials; a LiveKit that is away is waited for later."""
    livekit = LiveKit(config.livekit)
    try:
        livekit.ping()
    except LiveKitError as error:
        return f"livekit.api_key, livekit.api_secret: {error}" if error.kind == "unauthorized" else None
    finally:
        livekit.close()
    return None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
