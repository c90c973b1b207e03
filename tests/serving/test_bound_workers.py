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


class Stat:
    """What the services of a test take for /proc/stat."""

    def __init__(self, folder: Path, cores: set[int]) -> None:
        self.path = folder / "stat"
        self._cores = cores
        self.write(busy=set())

    def write(self, busy: set[int]) -> None:
        """Let some of the cores have been busy for ages, and the others never."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"cpu{core} {10**9 * (core in busy)} 0 0 0 0 0 0 0\n" for core in self._cores))
        new.rename(self.path)


@pytest.fixture
def stat(tmp_path: Path, two_cores: set[int]) -> Stat:
    """Two idle cores, whatever else this machine does."""
    return Stat(tmp_path, two_cores)


MakeOne = Callable[..., Service]


@pytest.fixture
def make_one(
    stat: Stat,
    make_service: Callable[[Mapping[str, str]], Service],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> MakeOne:
    """Start services that share two cores with each other alone, and look after them five times a second."""
    conf = tmp_path / "conf.py"
    conf.write_text(
        dedent(f"""\
        from pathlib import Path
        from webcall.serving import own_core
        exec(Path({str(ROOT / "gunicorn.conf.py")!r}).read_text())
        own_core.LOOK_S, own_core.PAUSE_S = 0.2, (600, 600)
        # One look is enough, at a worker that rests too.
        own_core.LOOKS, own_core.BUSY = 1, -1.0
        own_core._STAT = Path({str(stat.path)!r})
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
    found: dict[int, set[frozenset[int]]] = {}
    for worker in psutil.Process(service.process.pid).children():
        found[worker.pid] = set()
        # A thread or the worker may end meanwhile.
        with suppress(FileNotFoundError):
            for task in Path(f"/proc/{worker.pid}/task").iterdir():
                with suppress(ProcessLookupError):
                    found[worker.pid].add(frozenset(os.sched_getaffinity(int(task.name))))
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


def test_a_core_that_others_use_is_let_go(two_cores: set[int], stat: Stat, make_one: MakeOne) -> None:
    """All threads of the worker may use all cores again, and another worker may have the core."""
    service = make_one()
    (cores,) = cores_of(service).values()
    (core,) = cores
    stat.write(busy=set(core))
    wait_for_cores(service, two_cores)
    first, second = two_cores
    wait_for_cores(make_one(WEBCALL_WORKERS="2"), {first}, {second})


def test_switched_off_it_does_nothing(two_cores: set[int], make_one: MakeOne) -> None:
    """The workers may use all cores."""
    service = make_one(WEBCALL_WORKERS="2", WEBCALL_BIND_CORES="false")
    wait_for_cores(service, two_cores, two_cores)
    assert "bound to a core" not in service.log.read_text()
