"""A real LiveKit server of the tests' own, on free ports of the loopback address."""

from __future__ import annotations

import secrets
import socket
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from livekit.api import LiveKitAPI

from scripts import livekit_server as program
from tests.support import programs
from tests.support.server_process import ServerProcess

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LiveKitServer(ServerProcess):
    """A LiveKit server that can be stopped and started again at the same address.

    `url` and `http_url` are its address, `key` and `secret` what it accepts, `config` the file of
    its settings. It sends its events to `webhook_urls`.
    """

    def __init__(self, binary: Path, folder: Path, webhook_urls: Sequence[str] = ()) -> None:
        super().__init__(folder)
        self.port = programs.free_port()
        self.key = "APItest" + secrets.token_hex(4)
        self.secret = secrets.token_urlsafe(48)
        self.url = f"ws://127.0.0.1:{self.port}"
        self.http_url = f"http://127.0.0.1:{self.port}"
        udp_port = programs.free_port(socket.SOCK_DGRAM)
        self.config = program.write_config(
            folder, self.port, self.key, self.secret, udp_port, webhook_urls=webhook_urls
        )
        self._binary = binary

    def configure(self, **sections: Any) -> None:
        """Change whole sections of its settings, for its next start."""
        settings = yaml.safe_load(self.config.read_text()) | sections
        self.config.write_text(yaml.safe_dump(settings))

    def ask_to_end(self) -> None:
        """Let it end as an operator would: it waits for the people in its rooms, and takes no others."""
        assert self._process is not None
        self._process.terminate()

    def wait(self, within_s: float) -> None:
        """Return when it has ended by itself."""
        assert self._process is not None
        self._process.wait(within_s)
        self._process = None

    def stop(self) -> None:
        """End it at once, with its rooms: on SIGTERM it would wait for the people in them."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @asynccontextmanager
    async def api(self) -> AsyncIterator[LiveKitAPI]:
        """Give a client with the server's own key, for reading back what is there."""
        async with LiveKitAPI(self.http_url, self.key, self.secret) as client:
            yield client

    def _command(self) -> list[str]:
        return [str(self._binary), "--config", str(self.config)]

    def _answers(self) -> bool:
        try:
            with _OPENER.open(self.http_url, timeout=5):
                return True
        except OSError:
            return False


@pytest.fixture(scope="session")
def livekit_binary() -> Path:
    """The server's program; without one the tests that need it are skipped, or fail in CI."""
    try:
        return program.ensure()
    except program.NoLiveKitServer as error:
        programs.without("livekit-server", str(error))


@pytest.fixture(scope="session")
def livekit_server(livekit_binary: Path) -> Iterator[LiveKitServer]:
    """One running LiveKit server for the whole run; a test that stops it starts it again."""
    with tempfile.TemporaryDirectory(prefix="webcall-livekit-") as folder:
        server = LiveKitServer(livekit_binary, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
