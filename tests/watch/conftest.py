"""A LiveKit that sends its events to a watcher, each twice, and a worker without models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.livekit import LiveKitServer
from tests.support.programs import free_port
from tests.support.watch import Program, light_worker
from webcall.core.watch.serving import WEBHOOK

AGENT = "light-shared"


class ToldServer(LiveKitServer):
    """A LiveKit server that sends each of its events twice to `watch_port`."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.watch_port = free_port()
        super().__init__(binary, folder, [f"http://127.0.0.1:{self.watch_port}{WEBHOOK}"] * 2)


@pytest.fixture(scope="session")
def told_server(livekit_binary: Path) -> Iterator[ToldServer]:
    with tempfile.TemporaryDirectory(prefix="webcall-told-") as folder:
        server = ToldServer(livekit_binary, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def shared_worker(told_server: ToldServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Takes the calls of `AGENT` on `told_server`."""
    worker = light_worker(told_server, tmp_path_factory.mktemp("light"), AGENT)
    worker.begin()
    try:
        worker.until_log("worker registered", within_s=60)
        yield worker
    finally:
        worker.kill()
