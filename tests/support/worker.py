"""The worker as an operator runs it, in a process of its own, on the real LiveKit server."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import programs
from tests.support.deployment import ROOT, livekit_environment, settings
from tests.support.livekit import LiveKitServer


@dataclass
class WorkerProcess:
    """A worker that takes the jobs of `agent_name`, with its output in a file."""

    environment: Mapping[str, str]
    log: Path
    agent_name: str
    health_port: int = field(default_factory=programs.free_port)
    metrics_port: int = field(default_factory=programs.free_port)
    process: subprocess.Popen[bytes] | None = None

    def _whole_environment(self) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WEBCALL_", "LIVEKIT_", "OPENAI_"))
        }
        return {
            **clean,
            "WEBCALL_CONFIG": str(ROOT / "config.yaml"),
            "LIVEKIT_AGENT_NAME": self.agent_name,
            "WEBCALL_WORKER_HEALTH_PORT": str(self.health_port),
            "WEBCALL_WORKER_METRICS_PORT": str(self.metrics_port),
            "WEBCALL_WORKER_IDLE": "1",
            "WEBCALL_WORKER_DRAIN_S": "1",
            **self.environment,
        }

    def start(self) -> WorkerProcess:
        """Start it and return when it takes jobs."""
        self.begin()
        self.until_log("worker registered", within_s=60)
        return self

    def begin(self) -> None:
        """Start it and return at once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "webcall.worker", "start"],
                cwd=ROOT,
                env=self._whole_environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def until_log(self, text: str, times: int = 1, within_s: float = 30) -> None:
        """Wait until its log holds a text so many times."""
        assert self.process is not None
        programs.wait_until(lambda: self.output().count(text) >= times, self.process, within_s)

    def until_line(
        self, event: str, room: str, times: int = 1, within_s: float = 30, **fields: object
    ) -> list[dict[str, Any]]:
        """Wait until its log has so many lines of an event in a room, with these fields; return them."""
        assert self.process is not None
        found: list[dict[str, Any]] = []

        def there() -> bool:
            found[:] = [one for one in self.lines(event, room) if fields.items() <= one.items()]
            return len(found) >= times

        programs.wait_until(there, self.process, within_s)
        return found

    def lines(self, event: str = "", room: str = "") -> list[dict[str, Any]]:
        """Return the log's lines of one event and one room; empty: of all."""
        found = (json.loads(line) for line in self.output().splitlines() if line.startswith("{"))
        return [one for one in found if event in ("", one["event"]) and room in ("", one.get("room"))]

    def output(self) -> str:
        """Return what it has written so far."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def stop(self) -> None:
        """End it and whatever it has started."""
        if self.process is not None:
            programs.stop(self.process)
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return


MakeWorker = Callable[..., WorkerProcess]


def _worker(
    server: LiveKitServer, folder: Path, environment: Mapping[str, str], agent_name: str = ""
) -> WorkerProcess:
    unique = secrets.token_hex(4)
    name = agent_name or f"agent-{unique}"
    return WorkerProcess({**livekit_environment(server), **environment}, folder / f"{unique}.log", name)


@pytest.fixture(scope="session")
def worker(
    livekit_server: LiveKitServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WorkerProcess]:
    """One worker with the demo's models for the whole run, under a name of its own."""
    process = _worker(livekit_server, tmp_path_factory.mktemp("worker"), {})
    try:
        yield process.start()
    finally:
        process.stop()


@pytest.fixture
def make_worker(livekit_server: LiveKitServer, tmp_path: Path) -> Iterator[MakeWorker]:
    """Start workers with an environment of the test's own; they are stopped after the test.

    `make_worker({"WEBCALL_LLM": …}, agent_name="twin", chat_max_turns=3)`: further names are settings of
    the section `worker`. Without `wait` it is returned before it takes jobs.
    """
    started: list[WorkerProcess] = []

    def make(
        environment: Mapping[str, str] | None = None,
        *,
        agent_name: str = "",
        server: LiveKitServer = livekit_server,
        wait: bool = True,
        **changed: Any,
    ) -> WorkerProcess:
        process = _worker(server, tmp_path, environment or {}, agent_name)
        if changed:
            path = tmp_path / f"config-{len(started)}.yaml"
            path.write_text(yaml.safe_dump(settings(worker=changed)))
            process.environment = {**process.environment, "WEBCALL_CONFIG": str(path)}
        started.append(process)
        if wait:
            return process.start()
        process.begin()
        return process

    yield make
    for process in started:
        process.stop()
