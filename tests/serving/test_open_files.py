"""A worker that the system gives no more open files goes on with those that it has."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.deployment import ROOT, Service, store_records

MOST_FILES = 64
REQUEST = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def service(
    make_service: Callable[[Mapping[str, str]], Service], tmp_path: Path, request: pytest.FixtureRequest
) -> Service:
    """The sample deployment, with a worker that may have more connections than files."""
    conf = tmp_path / "conf.py"
    conf.write_text(
        "import resource\n"
        "from pathlib import Path\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({MOST_FILES}, {MOST_FILES}))\n"
        f"exec(Path({str(ROOT / 'gunicorn.conf.py')!r}).read_text())\n"
        "worker_connections = 200\n"
    )
    settings = {"LIVEKIT_URL": "ws://127.0.0.1:9", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s" * 32}
    settings |= {"WEBCALL_WORKERS": "1", "WEBCALL_THREADS": "8", "GUNICORN_CMD_ARGS": f"--config={conf}"}
    return make_service(store_records("env", tmp_path, request) | settings)


def workers(service: Service) -> list[int]:
    assert service.process is not None
    return [child.pid for child in psutil.Process(service.process.pid).children()]


def test_idle_connections_make_room(service: Service) -> None:
    """Everybody who comes is answered, by the same process, and one line tells of it."""
    before = workers(service)
    with ExitStack() as clients:
        for _ in range(2 * MOST_FILES):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", service.port), timeout=30))
            client.sendall(REQUEST)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert workers(service) == before
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    [told] = [line for line in lines if line["event"] == "no more open files"]
    assert 0 < told["connections"] < MOST_FILES
    assert told["level"] == "error"
