"""The supervisor of `make run`, started as a person starts it, and what a person does with its output."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from livekit.api import ListParticipantsRequest, LiveKitAPI
from livekit.protocol.models import ParticipantInfo

from tests.support import programs
from tests.support.deployment import ROOT

STARTED = "Ctrl-C stops everything"


class MakeRun:
    """The supervisor of `make run` with one instance folder and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.livekit_port = programs.free_port()
        self.port = programs.free_port()
        self.health_port = programs.free_port()
        self.metrics_port = programs.free_port()
        self.watch_port = programs.free_port()
        self.running: list[subprocess.Popen[str]] = []

    def spawn(self, *, patience_s: int = 30, **environment: str) -> subprocess.Popen[str]:
        """Start it and return at once."""
        given = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LIVEKIT_", "WEBCALL_", "OPENAI_"))
        }
        given |= {
            "WEBCALL_INSTANCE": str(self.folder),
            "WEBCALL_PORT": str(self.port),
            "LIVEKIT_PORT": str(self.livekit_port),
            # Two suites at once would both find the usual ones free.
            "WEBCALL_WORKER_HEALTH_PORT": str(self.health_port),
            "WEBCALL_WORKER_METRICS_PORT": str(self.metrics_port),
            "WEBCALL_WATCH_BIND": f"127.0.0.1:{self.watch_port}",
        }
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from scripts import run; run._READY_WITHIN_S = {patience_s}; raise SystemExit(run.main())",
            ],
            cwd=ROOT,
            env=given | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.running.append(process)
        return process

    def start(self, **environment: str) -> tuple[subprocess.Popen[str], list[str]]:
        """Return the process and what it printed, once it says that everything runs."""
        process = self.spawn(**environment)
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(STARTED):
                return process, lines
        raise AssertionError("\n".join(["make run ended before everything ran:", *lines]))

    def processes(self) -> list[int]:
        """Return the ids of all processes that carry this run's folder in their environment."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(") ")[2][:1]
            except OSError:
                continue
            if f"WEBCALL_INSTANCE={self.folder}".encode() in variables and state != "Z":
                found.append(int(entry.name))
        return found

    def assert_nothing_left(self, within_s: float = 0) -> None:
        """Assert that no process is left and that its ports are free again."""
        deadline = time.monotonic() + within_s
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.processes() == []
        for port in (self.port, self.livekit_port, self.health_port, self.metrics_port, self.watch_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[MakeRun]:
    """A supervisor that has not been started; all of it is ended after the test."""
    run = MakeRun(tmp_path / "instance")
    yield run
    for process in run.running:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)
    for left in run.processes():
        os.kill(left, signal.SIGKILL)


def paste(line: str) -> dict[str, Any]:
    """Do what a shell does with the printed line; without curl on this machine, what curl would do."""
    if shutil.which("curl"):
        answer = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True, timeout=60).stdout
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("url")
        parser.add_argument("-sS", action="store_true")
        parser.add_argument("-H", action="append", dest="headers")
        parser.add_argument("-d", dest="body")
        given = parser.parse_args(shlex.split(line)[1:])
        headers = dict(header.split(": ", 1) for header in given.headers)
        request = urllib.request.Request(given.url, given.body.encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = response.read()
    parsed: dict[str, Any] = json.loads(answer)
    return parsed


def curl_line(lines: list[str]) -> str:
    """Return the printed line that places a call."""
    [line] = [line for line in lines if line.startswith("curl ")]
    return line


def command_line(lines: list[str]) -> str:
    """Return the printed line that checks the deployment."""
    [line] = [line for line in lines if line.endswith("flask webcall check")]
    return line


def in_second_terminal(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line in a shell that knows nothing of the first one, from another folder."""
    return subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_call_works(answer: dict[str, Any], livekit_http: str, key: str, secret: str) -> None:
    """Assert that the answer's token may join, and that the assistant has been sent and comes."""
    room = answer["data"]["room_name"]

    async def dispatches() -> list[Any]:
        async with LiveKitAPI(livekit_http, key, secret) as client, asyncio.timeout(30):
            while not any(
                one.kind == ParticipantInfo.Kind.AGENT
                for one in (
                    await client.room.list_participants(ListParticipantsRequest(room=room))
                ).participants
            ):
                await asyncio.sleep(0.1)
            return list(await client.agent_dispatch.list_dispatch(room))

    assert answer["success"] is True
    validate = f"{livekit_http}/rtc/validate?access_token={answer['data']['token']}"
    with urllib.request.urlopen(validate, timeout=10) as response:
        assert response.read() == b"success"
    [dispatch] = asyncio.run(dispatches())
    assert dispatch.agent_name == "api-agent"
    filled = json.loads(dispatch.metadata)["web_call"]["assistant"]["assistant_start_instruction"]
    assert filled == "Greet Ada by name and ask how you can help."
