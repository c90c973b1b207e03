"""`python -m webcall.worker start`: run assistants until SIGTERM."""

from __future__ import annotations

import asyncio
import errno
import os
import sys

import click
import structlog

from webcall import logs
from webcall.config.settings import Config, WorkerConfig
from webcall.core.livekit import LiveKit
from webcall.core.model_needs import default_warnings
from webcall.errors import ConfigError, LiveKitError
from webcall.startup import settings_only

log = structlog.stdlib.get_logger("webcall.worker")

# Of an address to listen at.
_NOT_TO_BE_HAD = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
_USAGE = "usage: python -m webcall.worker start"


def main(arguments: list[str]) -> int:
    """Return the exit status: 0 after a signal, 2 for wrong settings or credentials, 1 for anything else."""
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
    for told in default_warnings(config.worker):
        log.warning("model unusable", reason=told)
    try:
        asyncio.run(Worker(config).run())
    except OSError as error:
        if error.errno not in _NOT_TO_BE_HAD:
            raise
        click.echo(_fault_of(config.worker, error.errno), err=True)
        # As for the service: what is in use, or not there yet after a boot, may be free at the next start.
        return 1
    return 0


def _fault_of(worker: WorkerConfig, number: int) -> str:
    """Return what hinders the worker from listening, by the system's number for it."""
    told = os.strerror(number)
    if number == errno.EADDRNOTAVAIL:
        fix = "no address of this machine, or not yet; WEBCALL_WORKER_HOST sets another one"
        return f"worker.host: {worker.host}: {told}: {fix}"
    at = f"{worker.host}, {worker.health_port} or {worker.metrics_port}"
    fix = "does another worker run here? Give this one ports of its own"
    return f"worker.health_port, worker.metrics_port: {at}: {told}: {fix}"


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
