"""The watcher as an operator runs it, in a process of its own, and workers without models."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.support import programs
from tests.support.calls import client, livekit_config
from tests.support.deployment import ROOT, livekit_environment, settings
from tests.support.fake_livekit import FakeLiveKit
from tests.support.livekit import LiveKitServer
from webcall.config.settings import WatchConfig
from webcall.core.livekit_rooms import OpenRooms
from webcall.core.room_events import RoomEvents
from webcall.core.watch import serving
from webcall.core.watch.claims import Claims, OnlyWatcher
from webcall.core.watch.counters import WatchCounters
from webcall.core.watch.watcher import Watcher

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# As short as a busy machine allows.
RULES: dict[str, Any] = {"sweep_s": 0.5, "grace_s": 1.0, "tries": 2, "overtime_s": 0.5}


@dataclass
class Program:
    """A process with its output in a file."""

    command: list[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it and return at once."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("WEBCALL_", "LIVEKIT_"))
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                cwd=ROOT,
                env={**clean, **self.environment},
                stdout=log,
                stderr=log,
            )

    def until_log(self, text: str, times: int = 1, within_s: float = 30) -> None:
        """Wait until its log holds a text so many times."""
        assert self.process is not None
        programs.wait_until(lambda: self.output().count(text) >= times, self.process, within_s)

    def output(self) -> str:
        """Return what it has written so far."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def kill(self) -> None:
        """End it as the kernel would, without a word."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process is not None:
            programs.stop(self.process)


@dataclass
class Watching(Program):
    """`flask webcall watch` on a port of its own."""

    port: int = field(default_factory=programs.free_port)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, within_s: float = 60) -> Watching:
        """Start it and return when it watches."""
        before = self.output().count('"watching"')
        self.begin()
        self.until_log('"watching"', times=before + 1, within_s=within_s)
        return self

    def get(self, path: str) -> str:
        """Return what it answers."""
        with _OPENER.open(self.url + path, timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def count(self, metric: str) -> float:
        """Return the value of a metric, labels included in its name."""
        return _value(self.get("/metrics"), metric)

    def lines(self, event: str = "", room: str = "") -> list[dict[str, Any]]:
        """Return the log's lines of one event and one room; empty: of all."""
        found = (json.loads(line) for line in self.output().splitlines() if line.startswith("{"))
        return [one for one in found if event in ("", one["event"]) and room in ("", one.get("room"))]


def count(counters: WatchCounters, metric: str) -> float:
    """Return the value of a metric, labels included in its name; 0 if there is none."""
    return _value(counters.exposition().decode(), metric)


def _value(exposition: str, metric: str) -> float:
    lines = (line.rpartition(" ") for line in exposition.splitlines())
    return next((float(value) for name, _, value in lines if name == metric), 0.0)


def watcher_for(server: LiveKitServer | FakeLiveKit, folder: Path, port: int = 0, **changed: Any) -> Watching:
    """Return a watcher, not started. Further names are settings of `watch`, or `storage_uri`."""
    port = port or programs.free_port()
    limits = {"storage_uri": changed.pop("storage_uri", "memory://")}
    rules = {**RULES, **changed, "bind": f"127.0.0.1:{port}"}
    unique = secrets.token_hex(4)
    config = folder / f"watch-{unique}.yaml"
    config.write_text(yaml.safe_dump(settings(watch=rules, limits=limits)))
    environment = {**livekit_environment(server), "WEBCALL_CONFIG": str(config)}
    command = ["-m", "flask", "--app", "wsgi", "webcall", "watch"]
    return Watching(command, environment, folder / f"watch-{unique}.log", port=port)


def light_worker(server: LiveKitServer, folder: Path, agent_name: str) -> Program:
    """Return a worker without models, not started."""
    log = folder / f"agent-{secrets.token_hex(4)}.log"
    return Program(["-m", "tests.support.light_agent", agent_name], livekit_environment(server), log)


@asynccontextmanager
async def watching(
    server: LiveKitServer, *, claims: Claims | None = None, port: int = 0, **changed: Any
) -> AsyncIterator[WatchCounters]:
    """Watch a LiveKit inside the test, listening for its events on `port` if one is given.

    Gives the watcher's counters. Further names are settings of `watch`.
    """
    rules = WatchConfig(bind="", **{**RULES, **changed})
    counters = WatchCounters()
    with client(server) as livekit:
        watcher = Watcher(OpenRooms(livekit), rules, claims or OnlyWatcher(), counters)
        events = RoomEvents(livekit_config(server))
        events.subscribe(watcher.on_event)
        runner = serving.make_runner(events, counters, "", server.url)
        await runner.setup()
        if port:
            await web.TCPSite(runner, "127.0.0.1", port).start()
        running = asyncio.create_task(watcher.run())
        try:
            yield counters
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await serving.stop_serving(runner)


MakeWatcher = Callable[..., Watching]
MakeLightWorker = Callable[..., Program]


@pytest.fixture
def make_watcher(livekit_server: LiveKitServer, tmp_path: Path) -> Iterator[MakeWatcher]:
    """Start watchers with settings of `watch` of the test's own; they are stopped after the test."""
    started: list[Watching] = []

    def make(server: LiveKitServer | FakeLiveKit = livekit_server, port: int = 0, **changed: Any) -> Watching:
        started.append(watcher_for(server, tmp_path, port, **changed))
        return started[-1].start()

    yield make
    for one in started:
        one.stop()


@pytest.fixture
def make_light_worker(livekit_server: LiveKitServer, tmp_path: Path) -> Iterator[MakeLightWorker]:
    """Start workers without models; they are killed after the test."""
    started: list[Program] = []

    def make(agent_name: str, server: LiveKitServer = livekit_server) -> Program:
        started.append(light_worker(server, tmp_path, agent_name))
        started[-1].begin()
        started[-1].until_log("worker registered")
        return started[-1]

    yield make
    for one in started:
        one.kill()
