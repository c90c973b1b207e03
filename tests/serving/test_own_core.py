"""Each worker keeps to a free core of its own, and to none that others need."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
from webcall.serving import own_core
from webcall.serving.own_core import OwnCore, Usage, busy_seconds, is_crowded, shares

STAT = """\
cpu  3000 0 600 9000 100 10 20 30 500 0
cpu0 1000 200 300 4000 50 5 10 15 250 0
cpu13 100 0 0 5000 50 0 0 0
intr 73448603 0 0
ctxt 1
"""
TICKS = os.sysconf("SC_CLK_TCK")
CORES = sorted(affinity.usable())

several_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores to choose from")


def test_the_time_that_cores_were_busy_is_read() -> None:
    """A core that waits for a disk is not busy; one whose time a hypervisor gave away is."""
    assert busy_seconds(STAT) == {0: 1530 / TICKS, 13: 100 / TICKS}


def test_shares_are_those_of_the_time_between() -> None:
    """A core that was not there before has none."""
    before, now = Usage(100.0, {0: 50.0, 1: 7.0}, 0.0), Usage(110.0, {0: 55.0, 1: 7.0, 2: 3.0}, 0.0)
    assert shares(before, now) == {0: 0.5, 1: 0.0}


@pytest.mark.parametrize(
    ("usable", "own", "expected"),
    [
        ({0: 1.0, 1: 0.1}, 0.5, True),
        ({0: 1.0, 1: 0.1}, 0.7, False),  # mostly this process's own work
        ({0: 1.0, 1: 0.9}, 0.3, False),  # the other one is no better
        ({0: 0.3, 1: 0.0}, 0.0, False),
        ({0: 1.0}, 0.0, False),
        ({1: 0.0}, 0.0, False),  # /proc/stat does not tell of it
        ({}, 0.0, False),
    ],
)
def test_a_core_is_crowded_by_others_alone(usable: Mapping[int, float], own: float, expected: bool) -> None:
    """It is left where others use much of it and another one is idler."""
    assert is_crowded(0, usable, own) is expected


class Machine:
    """A machine of cores whose use a test says; nothing is really bound on it."""

    def __init__(self, folder: Path, cores: int, patch: pytest.MonkeyPatch) -> None:
        self.bound: list[int | None] = []
        self.now = 1000.0
        self._busy = dict.fromkeys(range(cores), 0.0)
        self._stat = folder / "stat"
        patch.setattr(own_core, "_STAT", self._stat)
        patch.setattr(own_core.time, "monotonic", lambda: self.now)
        patch.setattr(own_core.time, "process_time", lambda: 0.0)
        patch.setattr(affinity, "usable", lambda: frozenset(range(cores)))
        patch.setattr(affinity, "bind", self.bound.append)
        patch.setattr(affinity, "release", lambda: self.bound.append(None))
        patch.setenv("WEBCALL_CORE_SOCKETS", f"test-{uuid.uuid4()}")
        self.pass_time(0)

    def pass_time(self, seconds: float, **busy: float) -> None:
        """Let time pass in which others used `core0`, `core1` and so on for these parts of it."""
        self.now += seconds
        for name, share in busy.items():
            self._busy[int(name.removeprefix("core"))] += share * seconds
        self._stat.write_text(
            "".join(f"cpu{core} {int(busy * TICKS)} 0 0 0 0 0 0 0\n" for core, busy in self._busy.items())
        )


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Two cores."""
    return Machine(tmp_path, 2, monkeypatch)


def test_no_two_have_the_same(machine: Machine) -> None:
    """Who finds none free stays unbound, and gets one later."""
    first, second, third = (OwnCore(wanted=True) for _ in range(3))
    for each in (first, second, third):
        each.look(machine.now)
    assert (sorted(machine.bound), third.core) == ([0, 1], None)
    core = second.core
    second.release()
    machine.pass_time(own_core.AGAIN_S)
    third.look(machine.now)
    assert third.core == core
    first.release()
    third.release()


def test_a_core_that_others_use_is_let_go(machine: Machine) -> None:
    """It is taken by who wants it then; this one takes the idlest after a while."""
    worker, other = OwnCore(wanted=True), OwnCore(wanted=True)
    worker.look(machine.now)
    crowded = worker.core
    assert crowded is not None
    busy = {f"core{crowded}": 0.9, f"core{1 - crowded}": 0.1}
    machine.pass_time(own_core.LOOK_S, **busy)
    worker.look(machine.now)
    assert (worker.core, machine.bound) == (None, [crowded, None])
    machine.pass_time(own_core.LOOK_S, **busy)
    worker.look(machine.now)
    assert worker.core is None, "not at once"
    machine.pass_time(own_core.PAUSE_S[1], **busy)
    worker.look(machine.now)
    assert worker.core == 1 - crowded
    other.look(machine.now)
    assert other.core == crowded
    worker.release()
    other.release()


def test_it_looks_now_and_then_only(machine: Machine) -> None:
    """A worker looks at each turn, which costs nothing most of the time."""
    worker = OwnCore(wanted=True)
    worker.look(machine.now)
    core = worker.core
    machine.pass_time(own_core.LOOK_S - 0.1, **{f"core{core}": 1.0})
    worker.look(machine.now)
    assert worker.core == core
    worker.release()


@pytest.mark.parametrize(("wanted", "cores"), [(False, 2), (True, 1), (True, 0)])
def test_where_there_is_nothing_to_choose_nothing_is_done(
    wanted: bool, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Switched off, or with one core, or where the system does not let one choose."""
    machine = Machine(tmp_path, cores, monkeypatch)
    worker = OwnCore(wanted)
    worker.look(machine.now)
    assert (worker.core, machine.bound) == (None, [])


def test_what_a_sandbox_forbids_is_tried_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker serves unbound, and the core is another one's."""
    tries = []

    def refuse(core: int) -> None:
        tries.append(core)
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(affinity, "bind", refuse)
        worker = OwnCore(wanted=True)
        for _ in range(3):
            worker.look(machine.now)
            machine.pass_time(own_core.AGAIN_S)
    assert (worker.core, len(tries)) == (None, 1)
    others = [OwnCore(wanted=True), OwnCore(wanted=True)]
    for other in others:
        other.look(machine.now)
        assert other.core is not None
    for other in others:
        other.release()


CHILD = """\
import os, sys, tempfile, threading
from pathlib import Path
from plugins.file.indexing import write_index_in_child
from plugins.file.parsing import KINDS
from webcall import affinity

def threads():
    return [os.sched_getaffinity(int(task)) for task in os.listdir("/proc/self/task")]

every, one = os.sched_getaffinity(0), {max(os.sched_getaffinity(0))}
end = threading.Event()
for _ in range(3):
    threading.Thread(target=end.wait).start()
affinity.bind(max(every))
threading.Thread(target=end.wait).start()
assert threads() == [one] * 5, threads()
assert affinity.usable() == every
with tempfile.TemporaryFile() as out:
    def started(child):
        assert os.sched_getaffinity(child.pid) == every
        print("the child has all of them")
    write_index_in_child(Path(sys.argv[1]), KINDS["assistants"], out, started)
affinity.release()
assert threads() == [every] * 5, threads()
end.set()
"""


@several_cores
def test_threads_are_bound_and_a_child_is_not(tmp_path: Path) -> None:
    """Those that run and those to come; a process that indexes a large file gets all cores."""
    records = tmp_path / "assistants.json"
    records.write_text("[]")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(records)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "the child has all of them\n"), done.stderr


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
        own_core.LOOK_S = own_core.AGAIN_S = 0.2
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


@several_cores
def test_workers_have_a_core_each(two_cores: set[int], make_one: MakeOne) -> None:
    """Also those that take over on SIGHUP, when the old ones have gone."""
    first, second = two_cores
    service = make_one(WEBCALL_WORKERS="2")
    old = wait_for_cores(service, {first}, {second})
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    wait_for_cores(service, {first}, {second}, instead_of=old)
    assert '"event": "bound to a core"' in service.log.read_text()


@several_cores
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


@several_cores
def test_one_worker_has_one_core(two_cores: set[int], make_one: MakeOne) -> None:
    """It leaves the other one alone."""
    service = make_one()
    (cores,) = cores_of(service).values()
    assert cores in [{frozenset({core})} for core in two_cores]


@several_cores
def test_switched_off_it_does_nothing(two_cores: set[int], make_one: MakeOne) -> None:
    """The workers may use all cores."""
    service = make_one(WEBCALL_WORKERS="2", WEBCALL_BIND_CORES="false")
    wait_for_cores(service, two_cores, two_cores)
    assert "bound to a core" not in service.log.read_text()
