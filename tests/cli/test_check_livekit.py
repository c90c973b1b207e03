"""`flask webcall check` names what is wrong with LiveKit and the fix, on real servers and stand-ins."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import NO_LIVEKIT, Run, loaded, run_on
from tests.support.deployment import (
    ASSISTANTS,
    OWNER,
    MakeApp,
    livekit_environment,
)
from tests.support.listeners import Quiet, serving
from tests.support.livekit import LiveKitServer
from tests.support.programs import free_port

Finding = dict[str, str]
CheckLiveKit = Callable[..., list[Finding]]


@pytest.fixture
def check_livekit(make_app: MakeApp) -> CheckLiveKit:
    """Run check with a LiveKit environment; return the findings about LiveKit."""

    def check(environment: Mapping[str, str], status: int = 1, **settings: Any) -> list[Finding]:
        chosen = {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env"}
        run = run_on(make_app(chosen | environment, livekit=settings), environment["LIVEKIT_API_SECRET"])
        findings = loaded(run("check", "--json", status=status))
        return [one for one in findings if one["part"] == "livekit"]

    return check


@contextmanager
def http_server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve HTTP on a free port, each request by `answer`; give the address."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            answer(self)

        do_POST = do_GET

    with serving(Handler) as port:
        yield f"ws://127.0.0.1:{port}"


def page(status: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return what answers every request with an HTML page."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        text = b"<html><body>Welcome to nginx!</body></html>"
        request.send_response(status)
        request.send_header("Content-Type", "text/html")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    return answer


def test_all_is_well(run_well: Run, livekit_server: LiveKitServer) -> None:
    """A deployment that works has nothing but ok, and status 0. Watcher and worker are other tests'."""
    findings = loaded(run_well("check", "--assistant", "helper", "--json"))
    assert [findings.pop()["part"] for _ in range(2)] == ["worker", "watch"]
    assert {one["status"] for one in findings} == {"ok"}
    told = {one["part"]: one["message"] for one in findings}
    assert told["livekit"] == f"{livekit_server.url} answers and accepts the API key"
    assert told["API keys"].startswith("1 in file")
    assert OWNER in told["assistant helper"]
    lines = run_well("check").stdout.partition("  watch: ")[0].splitlines()[:-1]
    assert lines
    assert all(line.startswith("ok ") for line in lines)


@pytest.fixture
def run_well(make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Path) -> Run:
    """Runs commands on a small deployment without any fault."""
    files = {
        "WEBCALL_API_KEYS_FILE": str(tmp_path / "keys.yaml"),
        "WEBCALL_ASSISTANTS_FILE": str(tmp_path / "assistants.yaml"),
        "WEBCALL_VALIDATORS": "file",
        "WEBCALL_STORES": "file",
    }
    (tmp_path / "assistants.yaml").write_text(yaml.safe_dump(ASSISTANTS[:1]))
    app = make_app(livekit_environment(livekit_server) | files)
    run = run_on(app, livekit_server.secret)
    run("keys", "create", "--owner", OWNER)
    return run


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"LIVEKIT_API_SECRET": "canary-of-a-wrong-secret-0123456789-0123"}, "livekit.api_secret is not"),
        ({"LIVEKIT_API_KEY": "APIwrong"}, "does not know livekit.api_key"),
    ],
    ids=["secret", "key"],
)
def test_wrong_credentials(
    check_livekit: CheckLiveKit, livekit_server: LiveKitServer, wrong: dict[str, str], told: str
) -> None:
    """The real server's refusal is told apart: a key that it does not know, or a wrong secret."""
    [finding] = check_livekit(livekit_environment(livekit_server) | wrong)
    assert finding["status"] == "failed"
    assert told in finding["message"]
    assert "`keys:`" in finding["fix"]


def test_wrong_clock(
    check_livekit: CheckLiveKit, livekit_server: LiveKitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the real server refuses a token for the clocks' sake, the clocks are named."""

    class Fast(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # gives a plain datetime
            return datetime.now(tz) + timedelta(minutes=10)

    for module in ("livekit", "server_clock"):
        monkeypatch.setattr(f"webcall.core.{module}.datetime", Fast)
    [finding] = check_livekit(livekit_environment(livekit_server))
    assert finding["status"] == "failed"
    assert "its clock is -600 s off" in finding["message"] or "its clock is -601 s off" in finding["message"]
    assert "clocks" in finding["fix"]


def test_clock_within_the_leeway(check_livekit: CheckLiveKit) -> None:
    """A clock that is off by less than the leeway is warned of: tokens still work."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response_only(404 if request.command == "GET" else 200)
        request.send_header("Date", format_datetime(datetime.now(UTC) + timedelta(seconds=45), usegmt=True))
        request.send_header("Content-Type", "application/protobuf")
        request.send_header("Content-Length", "0")
        request.end_headers()

    with http_server(answer) as url:
        _, finding = check_livekit(NO_LIVEKIT | {"LIVEKIT_URL": url}, status=0)
    assert finding["status"] == "warning"
    assert "its clock is +4" in finding["message"]
    assert finding["fix"] == "synchronise both clocks"


def test_unreachable(check_livekit: CheckLiveKit) -> None:
    """Where nothing listens, the address and its setting are named."""
    url = f"ws://127.0.0.1:{free_port()}"
    [finding] = check_livekit(NO_LIVEKIT | {"LIVEKIT_URL": url})
    assert finding["message"].startswith(f"{url}: cannot connect")
    assert "LIVEKIT_URL" in finding["fix"]


def test_black_hole(check_livekit: CheckLiveKit) -> None:
    """Where something listens and never answers, that is what is said, within the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        [finding] = check_livekit(NO_LIVEKIT | {"LIVEKIT_URL": url}, timeout_s=0.3)
    assert "no answer within 0.3 s" in finding["message"]
    assert "a firewall, an overload" in finding["fix"]


def test_tls_against_a_plain_port(check_livekit: CheckLiveKit, livekit_server: LiveKitServer) -> None:
    """Wss against LiveKit's plain port is named as that."""
    url = livekit_server.url.replace("ws:", "wss:")
    [finding] = check_livekit(livekit_environment(livekit_server) | {"LIVEKIT_URL": url})
    assert "wss or https against a plain port" in finding["message"]
    assert "take ws or http for a plain port" in finding["fix"]


@pytest.mark.parametrize("status", [200, 404, 502])
def test_another_http_server(check_livekit: CheckLiveKit, status: int) -> None:
    """An HTTP server that is not LiveKit is a fault whatever it answers, and the address is asked for."""
    with http_server(page(status)) as url:
        [finding] = check_livekit(NO_LIVEKIT | {"LIVEKIT_URL": url})
    assert finding["status"] == "failed"
    assert "the address of a LiveKit server" in finding["fix"]


@pytest.fixture(scope="module")
def auto_creating_server(livekit_binary: Path) -> Iterator[LiveKitServer]:
    """A LiveKit server that makes rooms on joining, as it does unless told otherwise."""
    with tempfile.TemporaryDirectory(prefix="webcall-livekit-") as folder:
        server = LiveKitServer(livekit_binary, Path(folder))
        config = Path(folder) / "livekit.yaml"
        tree = yaml.safe_load(config.read_text())
        del tree["room"]
        config.write_text(yaml.safe_dump(tree))
        try:
            server.start()
            yield server
        finally:
            server.stop()


def test_a_server_that_makes_rooms_on_joining(
    check_livekit: CheckLiveKit, auto_creating_server: LiveKitServer
) -> None:
    """A LiveKit with auto_create is warned of, with the line for its configuration; it is no failure."""
    _, finding = check_livekit(livekit_environment(auto_creating_server), status=0)
    assert finding["status"] == "warning"
    assert "makes rooms on joining" in finding["message"]
    assert "auto_create: false" in finding["fix"]
