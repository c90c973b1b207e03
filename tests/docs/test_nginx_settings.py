"""nginx's settings, of docs/deploy.md and of deploy/: nginx takes them, and they keep what is promised."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from livekit import rtc

from scripts.servers import nginx_command, nginx_serving
from tests.support import programs
from tests.support.calls import place_call
from tests.support.deployment import ROOT
from tests.support.http import Answer, get, send
from tests.support.listeners import Quiet, serving
from tests.support.livekit import LiveKitServer

LONG_AGO = "Sat, 01 Jan 2000 00:00:00 GMT"
KEPT = ("X-Request-ID", "X-Forwarded-For", "Content-Length")


class Echo(Quiet):
    """The service's stand-in: it answers with the headers that came."""

    # Begins the paths of what this one has not.
    LACKS: str | None = None

    def do_POST(self) -> None:
        if self.LACKS and self.path.startswith(self.LACKS):
            self.send_error(404)
            return
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


@dataclass(frozen=True)
class Ports:
    """Where nginx listens for either, and where they are behind it."""

    service: int
    livekit: int
    service_behind: int
    livekit_behind: int
    service_beside: int | None = None


@pytest.fixture(scope="module")
def behind() -> Iterator[int]:
    """The port of the stand-in."""
    with serving(Echo) as port:
        yield port


def of_one_machine(folder: Path, ports: Ports) -> list[str]:
    """Return the command of nginx with the settings of docs/deploy.md, without their TLS."""
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    text = "\n".join(re.findall(r"```nginx\n(.*?)```", page, re.DOTALL))
    text = re.sub(r"^ *ssl_.*\n", "", text, flags=re.MULTILINE)
    for port in (ports.service, ports.livekit):
        assert "listen 443 ssl;" in text
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};", 1)
    text = text.replace(":8000", f":{ports.service_behind}").replace(":7880", f":{ports.livekit_behind}")
    return nginx_serving(folder, text)


def of_several_machines(folder: Path, ports: Ports) -> list[str]:
    """Return the command of nginx with the settings of deploy/."""
    listening = {"WEBCALL_LISTEN": ports.service, "LIVEKIT_LISTEN": ports.livekit}
    behind = {"WEBCALL_1": ports.service_behind, "WEBCALL_2": ports.service_beside or ports.service_behind}
    behind |= {f"LIVEKIT_{number}": ports.livekit_behind for number in "12"}
    names = {name: f"127.0.0.1:{port}" for name, port in (listening | behind).items()}
    return nginx_command(folder, names | {"RESOLVER": "127.0.0.1"})


MAKERS = [of_one_machine, of_several_machines]


@contextmanager
def running(make: Callable[[Path, Ports], list[str]], folder: Path, ports: Ports) -> Iterator[None]:
    """Run nginx, which logs as it does by default, into `access.log` and `error.log` of `folder`."""
    command = programs.command(lambda: make(folder, ports))
    settings = folder / "nginx.conf"
    settings.write_text(
        settings.read_text().replace("access_log off;", f"access_log {folder}/access.log;", 1)
    )
    with (folder / "error.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)

    def answers() -> bool:
        try:
            return get(ports.service, "/health").status == 200
        except OSError:
            return False

    try:
        programs.wait_until(answers, process)
        yield
    finally:
        programs.stop(process)


@pytest.fixture(scope="module", params=MAKERS)
def nginx(
    request: pytest.FixtureRequest,
    behind: int,
    livekit_server: LiveKitServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ports]:
    """An nginx in front of the stand-in and of LiveKit."""
    ports = Ports(programs.free_port(), programs.free_port(), behind, livekit_server.port)
    with running(request.param, tmp_path_factory.mktemp("nginx"), ports):
        yield ports


def id_that_came(answer: Answer) -> str:
    assert answer.status == 200
    return str(answer.headers["Came-X-Request-ID"])


def test_the_callers_id_is_kept(nginx: Ports) -> None:
    """An id that the service takes reaches it; in place of another, or of none, comes one of nginx's."""
    for own in ("mine-1", "A.b_c-9" * 18):
        assert id_that_came(send(nginx.service, b"{}", {"X-Request-ID": own})) == own
    for other in ({}, {"X-Request-ID": "two words"}, {"X-Request-ID": "x" * 129}, {"X-Request-ID": "a$b"}):
        assert re.fullmatch("[0-9a-f]{32}", id_that_came(send(nginx.service, b"{}", other)))


def test_what_is_for_the_inside_is_closed(nginx: Ports) -> None:
    """Nobody outside gets /ready and /metrics; everybody gets /health."""
    assert [get(nginx.service, path).status for path in ("/health", "/ready", "/metrics")] == [200, 403, 403]


def test_what_reaches_the_service(nginx: Ports) -> None:
    """A long bearer token does, a body above the service's limit, and the caller's address behind others'."""
    long = {"Authorization": f"Bearer {'x' * 40_000}", "X-Forwarded-For": "203.0.113.9"}
    answer = send(nginx.service, b"x" * 100_000, long)
    assert answer.status == 200
    assert answer.headers["Came-Content-Length"] == "100000"
    assert answer.headers["Came-X-Forwarded-For"] == "203.0.113.9, 127.0.0.1"


def test_people_join_by_it(nginx: Ports, livekit_server: LiveKitServer) -> None:
    """A call is joined at LiveKit's address behind nginx."""
    call = place_call(livekit_server, agent_name="nobody")

    async def join() -> None:
        room = rtc.Room()
        await room.connect(f"ws://127.0.0.1:{nginx.livekit}", call.token)
        assert room.name == call.room_name
        await room.disconnect()

    asyncio.run(join())


@pytest.mark.parametrize("make", MAKERS)
def test_no_token_gets_into_a_log(
    make: Callable[[Path, Ports], list[str]], behind: int, livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """A browser's token is in the address that it joins at: no line of nginx has it, of an error neither."""
    for state, livekit in (("there", livekit_server.port), ("away", programs.free_port())):
        folder = tmp_path / state
        folder.mkdir()
        ports = Ports(programs.free_port(), programs.free_port(), behind, livekit)
        with running(make, folder, ports):
            status = get(ports.livekit, "/rtc?access_token=canary").status
        assert status == (401 if state == "there" else 502)
        assert "/health" in (folder / "access.log").read_text()
        assert "canary" not in (folder / "access.log").read_text() + (folder / "error.log").read_text()


def test_livekits_api_is_for_the_inside_on_one_machine(
    behind: int, livekit_server: LiveKitServer, tmp_path: Path
) -> None:
    """Of LiveKit only what people's clients ask for is open there."""
    ports = Ports(programs.free_port(), programs.free_port(), behind, livekit_server.port)
    with running(of_one_machine, tmp_path, ports):
        for path in ("/", "/agent", "/twirp/livekit.RoomService/ListRooms"):
            assert get(ports.livekit, path).status == 403


def test_livekits_own_clock_is_heard(behind: int, tmp_path: Path) -> None:
    """The time in LiveKit's answers, by which tokens are made, is LiveKit's and not nginx's."""
    ports = Ports(programs.free_port(), programs.free_port(), behind, behind)
    with running(of_several_machines, tmp_path, ports):
        for path in ("/twirp/livekit.RoomService/CreateRoom", "/twirp/livekit.RoomService/DeleteRoom"):
            assert get(ports.livekit, path).headers["Date"] == LONG_AGO


def test_a_file_of_another_version_is_found(behind: int, tmp_path: Path) -> None:
    """During a rolling upgrade one node lacks what the other's pages refer to: nginx asks that one."""

    class Older(Echo):
        LACKS = "/widget/"

    with serving(Older) as older:
        ports = Ports(programs.free_port(), programs.free_port(), behind, behind, service_beside=older)
        with running(of_several_machines, tmp_path, ports):
            assert {get(ports.service, "/widget/call.0123.js").status for _ in range(6)} == {200}
