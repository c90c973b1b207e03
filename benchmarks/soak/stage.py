"""The whole service on loopback: LiveKit, Redis, MongoDB, gunicorn, a worker and a watcher, each real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import yaml

from benchmarks.soak.records import DATABASE, WORKER, Records
from scripts import livekit_server
from tests.support import programs
from tests.support.deployment import ROOT, Service, livekit_environment, settings
from tests.support.livekit import LiveKitServer
from tests.support.mongo import MongoServer
from tests.support.redis import RedisServer
from tests.support.worker import WorkerProcess

# Short, so that the rooms of calls that nobody joins do not pile up: 60 s of leeway come on top.
JOIN_WINDOW_S = 20
DEPARTURE_S = 5
WORKERS = 2
SLOW_RATE = 10
"""What the key `slow` may ask in a minute: see `benchmarks.soak.records`."""


@dataclass
class Stage:
    """What runs, and the records that it reads."""

    folder: Path
    records: Records
    livekit: LiveKitServer
    redis: RedisServer
    mongo: MongoServer
    service: Service
    worker: WorkerProcess | None = None
    watch: subprocess.Popen[bytes] | None = None

    @property
    def master(self) -> psutil.Process:
        """The master of gunicorn."""
        assert self.service.process is not None
        return psutil.Process(self.service.process.pid)

    def gunicorn_workers(self) -> list[psutil.Process]:
        """Return the processes that serve, the oldest first."""
        return sorted(self.master.children(), key=lambda one: (one.create_time(), one.pid))

    def logs(self) -> dict[str, Path]:
        """Return where the service's own processes write, by name."""
        found = {"service": self.service.log}
        if self.worker is not None:
            found["worker"] = self.worker.log
        if self.watch is not None:
            found["watch"] = self.folder / "watch.log"
        return found

    def uncounted_since(self, seconds: float) -> bool:
        """Return whether the service let calls pass uncounted in the last so many seconds.

        On a machine that is busy with other things even a Redis that runs can be late.
        """
        since = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()
        lines = self.service.log.read_text("utf-8", "replace").splitlines()
        down = (json.loads(line) for line in lines if '"event": "limits storage down"' in line)
        return any(line["timestamp"] >= since for line in down)

    def start_watch(self) -> None:
        """Start the watcher."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("WEBCALL_", "LIVEKIT_"))
        }
        with (self.folder / "watch.log").open("ab") as log:
            self.watch = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "watch"],
                cwd=ROOT,
                env={**clean, **self.service.environment},
                stdout=log,
                stderr=log,
            )

    def stop_watch(self) -> None:
        """End the watcher."""
        if self.watch is not None:
            programs.stop(self.watch)


@contextmanager
def staged(folder: Path, *, people: bool) -> Iterator[Stage]:
    """Run everything while the block runs; the worker and the watcher only if `people` join calls."""
    port, watch_port = programs.free_port(), programs.free_port()
    told = [f"http://127.0.0.1:{one}/livekit/webhook" for one in (port, watch_port)]
    livekit = LiveKitServer(livekit_server.ensure(), folder, told[: 2 if people else 1])
    redis = RedisServer(folder)
    (folder / "mongo").mkdir()
    mongo = MongoServer(folder / "mongo", keeps=True)
    records = Records(folder, mongo.uri)
    records.write()
    config = folder / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            settings(
                call={"join_window_s": JOIN_WINDOW_S, "departure_timeout_s": DEPARTURE_S},
                # Each stranger has an address of its own, as behind a proxy.
                http={"trusted_proxies": 1, "playground": True, "workers": WORKERS},
                limits={"per_key": "6000/minute", "publishable_per_address": "30/minute"},
            )
        )
    )
    environment = {
        **livekit_environment(livekit),
        "WEBCALL_CONFIG": str(config),
        "WEBCALL_WATCH_BIND": f"127.0.0.1:{watch_port}",
        "WEBCALL_VALIDATORS": "file,mongo",
        "WEBCALL_STORES": "file,mongo",
        "WEBCALL_API_KEYS_FILE": str(records.key_file),
        "WEBCALL_ASSISTANTS_FILE": str(records.assistant_file),
        "MONGODB_URI": mongo.uri,
        "MONGODB_DATABASE": DATABASE,
        "WEBCALL_LIMITS_STORAGE": redis.uri,
    }
    service = Service(environment, folder / "service.log", port)
    stage = Stage(folder, records, livekit, redis, mongo, service)
    with ExitStack() as running:
        # Whatever has begun to start is stopped, also where its start fails or is interrupted.
        for program in (mongo, redis, livekit, service):
            running.callback(program.stop)
            program.start()
            if program is mongo:
                records.fill_mongo()
        if people:
            stage.worker = WorkerProcess(environment, folder / "worker.log", WORKER)
            running.callback(stage.worker.stop)
            stage.worker.start()
            running.callback(stage.stop_watch)
            stage.start_watch()
        yield stage
