"""The service under gunicorn: faults end the start at once, and never a service that runs."""

from __future__ import annotations

import fcntl
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import programs

ROOT = Path(__file__).parents[2]
GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py"]
FLASK = [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "plugins"]
SECRET = "a secret of the tests that is 32 bytes long"

MISSPELT = """
from webcall import hookimpl

@hookimpl
def webcall_key_validator():
    return []
"""


def settings(**changed: Any) -> dict[str, Any]:
    """Return settings that a service starts with, those sections replaced that are given."""
    return {
        "livekit": {"url": "ws://127.0.0.1:9", "api_key": "APItest", "api_secret": SECRET},
        "http": {"bind": "127.0.0.1:0", "threads": 8},
        "auth": {"validators": ["env"]},
        "assistants": {"stores": ["env"]},
    } | changed


def environment(folder: Path) -> dict[str, str]:
    given = {
        name: value for name, value in os.environ.items() if not name.startswith(("LIVEKIT_", "WEBCALL_"))
    }
    return given | {"WEBCALL_CONFIG": str(folder / "config.yaml"), "PYTHONPATH": str(folder)}


def write(folder: Path, content: dict[str, Any] | str) -> None:
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / "config.yaml").write_text(text)


FAULTS = {
    "unknown backend": (settings(auth={"validators": ["envv"]}), r"auth\.validators: .*'envv'.*'env'"),
    "unknown setting": (
        settings(call={"join_windw_s": 60}),
        r"call\.join_windw_s: .*did you mean 'join_window_s'",
    ),
    "misspelt hook": (
        settings(plugins=["plugins.env", "misspelt"]),
        r"plugins: misspelt: .*webcall_key_validator.*webcall_key_validators",
    ),
    "module without hooks": (
        settings(plugins=["plugins.env", "without_hooks"]),
        r"plugins: without_hooks: .*hook",
    ),
    "missing secret": (
        settings(livekit={"api_key": "APItest", "api_secret": "${NO_SUCH_VARIABLE}"}),
        r"livekit\.api_secret: .*NO_SUCH_VARIABLE",
    ),
    "short secret": (
        settings(livekit={"api_key": "APItest", "api_secret": "too-short"}),
        r"livekit\.api_secret: .*32 bytes",
    ),
    "malformed YAML": ("livekit: [", r".*config\.yaml: not YAML.*line"),
    "unreadable file": ("", r".*config\.yaml: cannot be read"),
}


@pytest.mark.parametrize("command", [GUNICORN, FLASK], ids=["gunicorn", "flask"])
@pytest.mark.parametrize(("content", "told"), FAULTS.values(), ids=FAULTS)
def test_fault_is_one_line_and_status_2(
    tmp_path: Path, content: dict[str, Any] | str, told: str, command: list[str]
) -> None:
    """A fault of an operator ends the start at once with one line that names it, and status 2."""
    (tmp_path / "misspelt.py").write_text(MISSPELT)
    (tmp_path / "without_hooks.py").write_text("")
    if content:
        write(tmp_path, content)
    else:
        (tmp_path / "config.yaml").mkdir()  # unreadable for everybody, root included
    ended = subprocess.run(
        command, cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    [line] = ended.stderr.splitlines()
    assert re.match(told, line)
    assert ended.returncode == 2
    assert "too-short" not in ended.stderr + ended.stdout


class Service:
    """gunicorn with the repository's own settings, on a port of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.port = programs.free_port()
        self.content = settings(http={"bind": f"127.0.0.1:{self.port}", "threads": 8})
        write(folder, self.content)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*GUNICORN, *arguments],
                cwd=ROOT,
                env=environment(folder),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def status(self, headers: dict[str, str] | None = None, path: str = "/health") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path, headers=headers or {})
            return connection.getresponse().status
        finally:
            connection.close()

    def answers(self) -> bool:
        try:
            return self.status() == 200
        except OSError:
            return False

    def counts(self) -> bool:
        try:
            return self.status(path="/metrics") == 200
        except OSError:
            return False

    def wait_for_line(self, text: str, count: int = 1) -> None:
        programs.wait_until(lambda: self.log.read_text().count(text) >= count, self.process)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path)
    try:
        programs.wait_until(running.answers, running.process)
        yield running
    finally:
        programs.stop(running.process)


def test_reload_with_broken_settings_changes_nothing(service: Service) -> None:
    """SIGHUP with a fault in the settings tells it and keeps the workers; fixed, it replaces them."""
    booted = "Booting worker"
    assert service.log.read_text().count(booted) == 1
    write(service.folder, service.content | {"call": {"join_window_s": "soon"}})
    service.process.send_signal(signal.SIGHUP)
    service.wait_for_line("settings refused")
    assert service.status() == 200
    assert re.search(r"^call\.join_window_s: ", service.log.read_text(), re.MULTILINE)
    assert service.log.read_text().count(booted) == 1
    write(service.folder, service.content | {"log": {"format": "console"}})
    service.process.send_signal(signal.SIGHUP)
    service.wait_for_line(booted, 2)
    programs.wait_until(service.answers, service.process)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(40) == 0
    assert "Traceback" not in service.log.read_text()


def test_reload_with_an_address_that_is_taken(service: Service) -> None:
    """SIGHUP with an address at which nobody can listen tells it and keeps the one that works."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        write(service.folder, service.content | {"http": {"bind": taken}})
        service.process.send_signal(signal.SIGHUP)
        service.wait_for_line("settings refused")
    assert service.status() == 200
    assert f"http.bind: {taken}: in use" in service.log.read_text()


def test_a_worker_that_dies_beside_broken_settings(service: Service) -> None:
    """A worker killed while config.yaml is broken is replaced by one with the settings that were checked."""
    booted = re.compile(r"Booting worker with pid: (\d+)")
    write(service.folder, service.content | {"call": {"join_window_s": "soon"}})
    [pid] = booted.findall(service.log.read_text())
    os.kill(int(pid), signal.SIGKILL)
    service.wait_for_line("Booting worker", 2)
    programs.wait_until(service.answers, service.process)
    assert len(booted.findall(service.log.read_text())) == 2


def test_temporary_files_that_are_cleaned_end_nothing(service: Service) -> None:
    """Without the folder that workers count in, a reload or a worker that dies costs what was counted."""
    temporary, name = Path(tempfile.gettempdir()), f"webcall-metrics-{service.process.pid}-*"
    [folder] = temporary.glob(name)
    seen = os.open(folder, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        # What systemd-tmpfiles asks for before it cleans one.
        fcntl.flock(seen, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(seen)
    for count, number in ((2, signal.SIGHUP), (3, signal.SIGKILL)):
        [folder] = temporary.glob(name)
        shutil.rmtree(folder)
        assert service.status(path="/metrics") == 500
        [*_, worker] = re.findall(r"Booting worker with pid: (\d+)", service.log.read_text())
        os.kill(service.process.pid if number == signal.SIGHUP else int(worker), number)
        service.wait_for_line("Booting worker", count)
        programs.wait_until(service.counts, service.process)
    programs.stop(service.process)
    assert not list(temporary.glob(name))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_worker_that_starts_holds_no_stop_up(tmp_path: Path, number: signal.Signals) -> None:
    """A service that is stopped before its workers are ready ends at once: they have nobody to answer."""
    conf = tmp_path / "slow.py"
    conf.write_text(
        "import time\n"
        "from pathlib import Path\n"
        f"exec(Path({str(ROOT / 'gunicorn.conf.py')!r}).read_text())\n"
        "webcall.app.create_app = lambda setup: (print('making it', flush=True), time.sleep(3600))\n"
    )
    starting = Service(tmp_path, "--config", str(conf))
    try:
        starting.wait_for_line("making it")
        starting.process.send_signal(number)
        # gunicorn kills workers that have not ended after 30 s.
        assert starting.process.wait(20) == 0
    finally:
        programs.stop(starting.process)


def test_long_bearer_token_arrives(service: Service) -> None:
    """A bearer token of 60 KB reaches the application, which refuses it itself."""
    token = "x" * 60_000
    assert service.status({"Authorization": f"Bearer {token}"}, "/web_call/assistants") in (401, 404)
    assert service.status({"Authorization": f"Bearer {token * 2}"}) == 431


def test_clients_that_send_half_a_request_are_let_go(service: Service) -> None:
    """More silent clients than there are threads keep /health waiting for a while, not for good."""
    silent = [socket.create_connection(("127.0.0.1", service.port), timeout=60) for _ in range(10)]
    try:
        for client in silent:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n")
        assert service.status() == 200
    finally:
        for client in silent:
            client.close()


def test_malformed_header_is_not_quoted_in_the_log(service: Service) -> None:
    """A key in a header line that gunicorn cannot parse does not get into the log."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nAuthorization Bearer lvk_canary\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 400")
    service.wait_for_line("Invalid request from ip=127.0.0.1")
    assert "lvk_canary" not in service.log.read_text()


def test_port_in_use_names_the_setting(service: Service) -> None:
    """A second service on the same address ends with one line that names the setting."""
    ended = subprocess.run(
        GUNICORN, cwd=ROOT, env=environment(service.folder), capture_output=True, text=True, timeout=60
    )
    told = [line for line in ended.stderr.splitlines() if "Starting gunicorn" not in line]
    assert told == [f"http.bind: 127.0.0.1:{service.port}: in use; WEBCALL_BIND sets another address"]
    assert ended.returncode == 1
    assert service.status() == 200
