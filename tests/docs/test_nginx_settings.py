"""nginx's settings, of docs/deploy.md and of deploy/: nginx takes them, and they keep what is promised."""

from __future__ import annotations

import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.servers import nginx_command, nginx_serving
from tests.support import programs
from tests.support.deployment import ROOT
from tests.support.http import Answer, get, send

LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"
KEPT = ("X-Request-ID", "X-Forwarded-For", "Content-Length")


class Echo(http.server.BaseHTTPRequestHandler):
    """The service's stand-in: it answers with the headers that came."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self.send_response(200)
        for name in KEPT:
            self.send_header(f"Came-{name}", self.headers[name] or "")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return a clock that is far behind."""
        return LONG_AGO

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture(scope="module")
def behind() -> Iterator[int]:
    """The port of the stand-in."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def of_one_machine(folder: Path, port: int, behind: int) -> list[str]:
    """Return the command of nginx with the settings of docs/deploy.md, without their TLS."""
    [shown] = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "deploy.md").read_text(), re.DOTALL)
    plain = re.sub(r"^ *ssl_.*\n", "", shown, flags=re.MULTILINE)
    changed = plain.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};").replace(":8000", f":{behind}")
    assert changed.count(str(port)) == 1
    return nginx_serving(folder, changed)


def of_several_machines(folder: Path, port: int, behind: int, livekit: int | None = None) -> list[str]:
    """Return the command of nginx with the settings of deploy/, in front of LiveKit at the port `livekit`."""
    ports = {"WEBCALL_LISTEN": port, "LIVEKIT_LISTEN": livekit or programs.free_port()}
    names = {name: f"127.0.0.1:{number}" for name, number in ports.items()}
    names |= {f"{name}_{number}": f"127.0.0.1:{behind}" for name in ("WEBCALL", "LIVEKIT") for number in "12"}
    return nginx_command(folder, names | {"RESOLVER": "127.0.0.1"})


@pytest.fixture(scope="module", params=[of_one_machine, of_several_machines])
def nginx(
    request: pytest.FixtureRequest, behind: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of an nginx in front of the stand-in."""
    port, folder = programs.free_port(), tmp_path_factory.mktemp("nginx")
    command = programs.command(lambda: request.param(folder, port, behind))
    with running(command, port):
        yield port


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """Run nginx for as long as the block, once it answers at the port."""
    process = subprocess.Popen(command)

    def answers() -> bool:
        try:
            return get(port, "/health").status == 200
        except OSError:
            return False

    try:
        programs.wait_until(answers, process)
        yield
    finally:
        programs.stop(process)


def id_that_came(answer: Answer) -> str:
    assert answer.status == 200
    return str(answer.headers["Came-X-Request-ID"])


def test_the_callers_id_is_kept(nginx: int) -> None:
    """An id that the service takes reaches it; in place of another, or of none, comes one of nginx's."""
    for own in ("mine-1", "A.b_c-9" * 18):
        assert id_that_came(send(nginx, b"{}", {"X-Request-ID": own})) == own
    for other in ({}, {"X-Request-ID": "two words"}, {"X-Request-ID": "x" * 129}, {"X-Request-ID": "a$b"}):
        assert re.fullmatch("[0-9a-f]{32}", id_that_came(send(nginx, b"{}", other)))


def test_what_is_for_the_inside_is_closed(nginx: int) -> None:
    """Nobody outside gets /ready and /metrics; everybody gets /health."""
    assert [get(nginx, path).status for path in ("/health", "/ready", "/metrics")] == [200, 403, 403]


def test_what_reaches_the_service(nginx: int) -> None:
    """A long bearer token does, a body above the service's limit, and the caller's address behind others'."""
    long = {"Authorization": f"Bearer {'x' * 40_000}", "X-Forwarded-For": "203.0.113.9"}
    answer = send(nginx, b"x" * 100_000, long)
    assert answer.status == 200
    assert answer.headers["Came-Content-Length"] == "100000"
    assert answer.headers["Came-X-Forwarded-For"] == "203.0.113.9, 127.0.0.1"


def test_livekits_own_clock_is_heard(behind: int, tmp_path: Path) -> None:
    """The time in LiveKit's answers, by which tokens are made, is LiveKit's and not nginx's."""
    port, livekit = programs.free_port(), programs.free_port()
    command = programs.command(lambda: of_several_machines(tmp_path, port, behind, livekit))
    with running(command, port):
        for path in ("/twirp/livekit.RoomService/CreateRoom", "/twirp/livekit.RoomService/DeleteRoom"):
            assert get(livekit, path).headers["Date"] == LONG_AGO
