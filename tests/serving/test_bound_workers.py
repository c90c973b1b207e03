"""Each worker of a running service keeps to a free core of its own, with all its threads."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from tests.support.deployment import ROOT, Service, store_records
from tests.support.http import get
from webcall import affinity

CORES = sorted(affinity.usable())

pytestmark = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores to choose from")


@pytest.fixture
def two_cores() -> Iterator[set[int]]:
    """What is started in this test may use two cores."""
    two = set(CORES[:2])
    os.sched_setaffinity(0, two)
    yield two
    os.sched_setaffinity(0, CORES)


MakeOne = Callable[..., Service]


@pytest.fixture
def make_one(
    two_cores: set[int],
    make_service: Callable[[Mapping[str, str]], Service],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> MakeOne:
    """Start services that share their cores with each other alone, and look after them five times a second.

    Whatever else this machine does, they let no core go.
    """
    conf = tmp_path / "conf.py"
    conf.write_text(
        dedent(f"""\
        from pathlib import Path
        from webcall.serving import own_core
        exec(Path({str(ROOT / "gunicorn.conf.py")!r}).read_text())
        own_core.LOOK_S = 0.2
        own_core.TOO_MUCH = 2.0
        """)
    )
    environment = {
        "WEBCALL_CORE_SOCKETS": f"test-{uuid.uuid4()}",
        "GUNICORN_CMD_ARGS": f"--config={conf}",
        "LIVEKIT_URL": "ws://127.0.0.1:9",
        "LIVEKIT_API_KEY": "devkey",
        "LIVEKIT_API_SECRET": "s" * 32,
        **store_records("env", tmp_path, request),
    }
    return lambda **chosen: make_service(environment | chosen)


def cores_of(service: Service) -> dict[int, set[frozenset[int]]]:
    """Return, for each worker, the cores of its threads, which should be the same for all of them."""
    assert service.process is not None
    found = {}
    for worker in psutil.Process(service.process.pid).children():
        tasks = Path(f"/proc/{worker.pid}/task").iterdir()
        found[worker.pid] = {frozenset(os.sched_getaffinity(int(task.name))) for task in tasks}
    return found


def wait_for_cores(service: Service, *expected: set[int], instead_of: Set[int] = frozenset()) -> set[int]:
    """Wait until workers, one for each of these sets and none of the old ones, have these cores."""
    until = time.monotonic() + 60
    found: dict[int, set[frozenset[int]]] = {}
    while found.keys() & instead_of or sorted(map(_shown, found.values())) != sorted(
        _shown({frozenset(each)}) for each in expected
    ):
        assert time.monotonic() < until, found
        time.sleep(0.05)
        # A thread or a worker may end meanwhile.
        with suppress(OSError, psutil.Error):
            found = cores_of(service)
    return set(found)


def _shown(cores: set[frozenset[int]]) -> list[list[int]]:
    return sorted(map(sorted, cores))


def test_workers_have_a_core_each(two_cores: set[int], make_one: MakeOne) -> None:
    """Also those that take over on SIGHUP, when the old ones have gone."""
    first, second = two_cores
    service = make_one(WEBCALL_WORKERS="2")
    old = wait_for_cores(service, {first}, {second})
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    wait_for_cores(service, {first}, {second}, instead_of=old)
    assert '"event": "bound to a core"' in service.log.read_text()


def test_who_finds_none_free_is_not_bound(two_cores: set[int], make_one: MakeOne) -> None:
    """A second service gets a core when the first one has ended."""
    first, second = two_cores
    service = make_one(WEBCALL_WORKERS="3")
    wait_for_cores(service, {first}, {second}, two_cores)
    beside = make_one()
    assert get(beside.port, "/health").status == 200
    (cores,) = cores_of(beside).values()
    assert cores == {frozenset(two_cores)}
    service.stop()
    until = time.monotonic() + 60
    while cores not in ({frozenset({first})}, {frozenset({second})}):
        assert time.monotonic() < until
        time.sleep(0.05)
        (cores,) = cores_of(beside).values()


def test_one_worker_has_one_core(two_cores: set[int], make_one: MakeOne) -> None:
    """It leaves the other one alone."""
    service = make_one()
    (cores,) = cores_of(service).values()
    assert cores in [{frozenset({core})} for core in two_cores]


def test_switched_off_it_does_nothing(two_cores: set[int], make_one: MakeOne) -> None:
    """The workers may use all cores."""
    service = make_one(WEBCALL_WORKERS="2", WEBCALL_BIND_CORES="false")
    wait_for_cores(service, two_cores, two_cores)
    assert "bound to a core" not in service.log.read_text()
