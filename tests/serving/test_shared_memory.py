"""What the master has loaded stays shared with its workers: their garbage collector does not look at it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.deployment import ROOT, Service, store_records

# What the service's modules alone come to is several times as much.
MANY = 50_000


def frozen_in_workers(folder: Path, service: Service, *, besides: set[str]) -> dict[str, int]:
    """Return how many objects the collector leaves out in each worker but these, when two have told."""
    assert service.process is not None
    until = time.monotonic() + 60
    while True:
        told = {file.name: file.read_text() for file in folder.iterdir() if file.suffix != ".new"}
        found = {pid: int(count) for pid, count in told.items() if pid not in besides}
        if len(found) >= 2:
            return found
        assert time.monotonic() < until, service.log.read_text()
        time.sleep(0.05)


def test_workers_share_what_the_master_has_loaded(
    make_service: Callable[[Mapping[str, str]], Service], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """No collection in a worker looks at the master's objects, nor in the master at what a worker shares.

    Nor in workers that a SIGHUP has started.
    """
    folder = tmp_path / "told"
    folder.mkdir()
    conf = tmp_path / "conf.py"
    conf.write_text(
        dedent(f"""\
        from pathlib import Path
        exec(Path({str(ROOT / "gunicorn.conf.py")!r}).read_text())
        _before, _after = pre_fork, post_worker_init
        of_the_master = [object() for _ in range(3)]
        forks, counts = [], []

        def note(phase, _):
            if forks:
                counts.append(gc.get_freeze_count())

        gc.callbacks.append(note)

        def pre_fork(server, worker):
            _before(server, worker)
            forks.append(worker)

        def post_worker_init(worker):
            seen = any(each is of_the_master for each in gc.get_objects())
            told = Path({str(folder)!r}) / str(worker.pid)
            told.with_suffix(".new").write_text(str(0 if seen else min([gc.get_freeze_count(), *counts])))
            told.with_suffix(".new").rename(told)
            _after(worker)
        """)
    )
    environment = {
        "GUNICORN_CMD_ARGS": f"--config={conf}",
        "WEBCALL_WORKERS": "2",
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "devkey",
        "LIVEKIT_API_SECRET": "s" * 32,
        **store_records("env", tmp_path, request),
    }
    service = make_service(environment)
    first = frozen_in_workers(folder, service, besides=set())
    assert min(first.values()) > MANY
    assert service.process is not None
    os.kill(service.process.pid, signal.SIGHUP)
    second = frozen_in_workers(folder, service, besides=set(first))
    assert min(second.values()) > MANY
