"""What promises are tried on: LiveKit, the service with two processes, and between them what counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from scripts import livekit_server
from tests.support.counting import CountingWay
from tests.support.deployment import (
    API_KEYS,
    ASSISTANTS,
    Service,
    bearer,
    livekit_environment,
    settings,
)
from tests.support.http import CALL, JSON, Answer, send
from tests.support.livekit import LiveKitServer

HELPER = {"assistant_id": "helper"}
WORKERS = 2


@dataclass
class Ground:
    """A service and its LiveKit; `way` has counted what went from one to the other."""

    service: Service
    livekit: LiveKitServer
    way: CountingWay

    def call(self, body: Any = None, path: str = CALL, **headers: str) -> Answer:
        """Ask for a call with a good key."""
        return send(self.service.port, HELPER if body is None else body, bearer() | JSON | headers, path=path)


@contextmanager
def service(folder: Path, **call: Any) -> Iterator[Ground]:
    """Run a service while the block runs; `call` changes settings of that section."""
    server = LiveKitServer(livekit_server.ensure(), folder)
    way = CountingWay(server.port)
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump(settings(call=call, http={"workers": WORKERS}, limits={"per_key": "off"}))
    )
    environment = {
        **livekit_environment(server),
        "LIVEKIT_URL": way.url,
        "LIVEKIT_PUBLIC_URL": server.url,
        "WEBCALL_CONFIG": str(config),
        "WEBCALL_VALIDATORS": "env",
        "WEBCALL_STORES": "env",
        "WEBCALL_API_KEYS": json.dumps(API_KEYS),
        "WEBCALL_ASSISTANTS": json.dumps(ASSISTANTS),
    }
    served = Service(environment, folder / "service.log")
    with ExitStack() as running:
        for program in (server, served):
            running.callback(program.stop)
            program.start()
        running.callback(way.close)
        yield Ground(served, server, way)


async def takes(server: LiveKitServer, client: aiohttp.ClientSession, token: str) -> int:
    """Return LiveKit's status for a token: 200 if it may join now, 401 if not, 404 if its room is gone."""
    async with client.get(f"{server.http_url}/rtc/validate", params={"access_token": token}) as answer:
        return answer.status


def statuses(server: LiveKitServer, tokens: list[str]) -> list[int]:
    """Return LiveKit's statuses for tokens, all asked at once."""

    async def ask() -> list[int]:
        async with aiohttp.ClientSession() as client:
            return list(await asyncio.gather(*(takes(server, client, token) for token in tokens)))

    return asyncio.run(ask())
