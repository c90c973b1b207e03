"""No secret in answers, logs and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.prove.promise import Tried
from scripts import livekit_server
from tests.support import canaries
from tests.support.deployment import Service
from tests.support.livekit import LiveKitServer


def no_secret_gets_out(folder: Path) -> Tried:
    """Search what gets out by requests and faults of every kind, with the log at its most talkative."""
    with ExitStack() as running:
        server = LiveKitServer(livekit_server.ensure(), folder)
        running.callback(server.stop)
        server.start()
        started: list[Service] = []

        def make(environment: Mapping[str, str]) -> Service:
            started.append(Service(environment, folder / f"service-{len(started)}.log"))
            running.callback(started[-1].stop)
            return started[-1].start()

        searched = canaries.search(make, server, folder)
    found = searched.found()
    kilobytes = (sum(map(len, searched.answers)) + len(searched.logs)) // 1024
    return Tried(
        f"keys, tokens, secrets, prompts, metadata and passwords marked; {searched.requests} requests of "
        "every kind, faults of LiveKit, stores and plugins; the log at `debug`",
        f"{len(found)} marks in {kilobytes} KB of answers, metrics and log",
        kept=not found,
    )
