"""A worker takes a free core, and none that others need."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

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


def test_the_time_that_cores_were_busy_is_read() -> None:
    """One that waits for a disk or does nice work is not busy; one whose time a hypervisor gave away is."""
    assert busy_seconds(STAT) == {0: 1330 / TICKS, 13: 100 / TICKS}


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
    ],
)
def test_a_core_is_crowded_by_others_alone(usable: Mapping[int, float], own: float, expected: bool) -> None:
    """It is left where others use much of it and another one is idler."""
    assert is_crowded(0, usable, own) is expected


class Machine:
    """A machine of cores whose use a test says; nothing is really bound on it."""

    def __init__(self, folder: Path, cores: int, patch: pytest.MonkeyPatch) -> None:
        self.bound: list[int | None] = []
        self.workers: list[OwnCore] = []
        self.now = 1000.0
        self.own_s = 0.0
        self._busy = dict.fromkeys(range(cores), 0.0)
        self._stat = folder / "stat"
        patch.setattr(own_core, "_STAT", self._stat)
        patch.setattr(own_core.time, "monotonic", lambda: self.now)
        patch.setattr(own_core.time, "process_time", lambda: self.own_s)
        patch.setattr(affinity, "usable", lambda: frozenset(range(cores)))
        patch.setattr(affinity, "siblings", lambda _: frozenset())
        patch.setattr(affinity, "bind", self.bound.append)
        patch.setattr(affinity, "release", lambda: self.bound.append(None))
        patch.setenv("WEBCALL_CORE_SOCKETS", f"test-{uuid.uuid4()}")
        self.pass_time(0)

    def worker(self, wanted: bool = True) -> OwnCore:
        """Return one more, which has looked for a core."""
        worker = OwnCore(wanted)
        self.workers.append(worker)
        worker.look(self.now)
        return worker

    def pass_time(self, seconds: float, own: float = 0.2, **busy: float) -> None:
        """Let time pass in which `core0`, `core1` and so on were busy for these parts of it.

        Each worker has used its core for the part that is its `own`.
        """
        self.now += seconds
        self.own_s += own * seconds
        for name, share in busy.items():
            self._busy[int(name.removeprefix("core"))] += share * seconds
        self.show(cores=len(self._busy))

    def crowd(self, *workers: OwnCore, own: float = 0.2, **busy: float) -> None:
        """Let so much time pass, and workers look so often, that one lets a crowded core go."""
        for _ in range(own_core.LOOKS):
            self.pass_time(own_core.LOOK_S, own, **busy)
            for worker in workers:
                worker.look(self.now)

    def show(self, cores: int) -> None:
        """Write what /proc/stat has of so many cores."""
        lines = (f"cpu{core} {int(busy * TICKS)} 0 0 0 0 0 0 0\n" for core, busy in self._busy.items())
        self.write("".join(list(lines)[:cores]))

    def write(self, stat: str) -> None:
        """Write /proc/stat."""
        self._stat.write_text(stat)


MakeMachine = Callable[[int], Machine]


@pytest.fixture
def make_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeMachine]:
    """Make a machine of so many cores; its workers end after the test."""
    made: list[Machine] = []

    def make(cores: int) -> Machine:
        made.append(Machine(tmp_path, cores, monkeypatch))
        return made[-1]

    yield make
    for machine in made:
        for worker in machine.workers:
            worker.release()


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    """Two cores."""
    return make_machine(2)


def test_no_two_have_the_same(machine: Machine) -> None:
    """Who finds none free stays unbound, and gets one later."""
    _, second, third = (machine.worker() for _ in range(3))
    assert (sorted(machine.bound), third.core) == ([0, 1], None)
    core = second.core
    second.release()
    machine.pass_time(own_core.LOOK_S)
    third.look(machine.now)
    assert third.core == core


def test_a_core_that_others_use_is_let_go(machine: Machine) -> None:
    """It is taken by who wants it then; this one takes the idlest after a while."""
    worker = machine.worker()
    crowded = worker.core
    assert crowded is not None
    busy = {f"core{crowded}": 0.9, f"core{1 - crowded}": 0.1}
    machine.crowd(worker, **busy)
    assert (worker.core, machine.bound) == (None, [crowded, None])
    machine.pass_time(own_core.LOOK_S, **busy)
    worker.look(machine.now)
    assert worker.core is None, "not at once"
    machine.pass_time(own_core.PAUSE_S[1], **busy)
    worker.look(machine.now)
    assert worker.core == 1 - crowded
    assert machine.worker().core == crowded


def test_a_worker_that_needs_little_stays(machine: Machine) -> None:
    """What others do on the core of one that has nothing to do is in nobody's way."""
    worker = machine.worker()
    core = worker.core
    machine.crowd(worker, worker, own=0.05, **{f"core{core}": 1.0})
    assert worker.core == core


def test_neighbours_that_come_and_go_drive_nobody_away(machine: Machine) -> None:
    """A look that finds the core quiet, or the worker at rest, begins the count anew."""
    worker = machine.worker()
    core = worker.core
    crowded = {f"core{core}": 0.9}
    for own, busy in (
        (0.2, crowded),
        (0.0, {}),
        (0.2, crowded),
        (0.2, crowded),
        (0.2, crowded),
        (0.2, {}),
    ) * 2:
        machine.pass_time(own_core.LOOK_S, own, **busy)
        worker.look(machine.now)
    assert worker.core == core
    machine.crowd(worker, **crowded)
    assert worker.core is None


def test_halves_of_a_core_are_taken_last(make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores that are two in truth: the second worker takes one of the other two."""
    machine = make_machine(4)
    monkeypatch.setattr(affinity, "siblings", lambda core: {(core + 2) % 4})
    workers = [machine.worker() for _ in range(4)]
    cores = [worker.core for worker in workers if worker.core is not None]
    assert cores[0] % 2 != cores[1] % 2
    assert sorted(cores) == [0, 1, 2, 3]


def test_an_idle_half_is_better_than_what_others_use(
    make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that others drove from its core takes a taken one's other half if nothing else is idle."""
    machine = make_machine(3)
    monkeypatch.setattr(affinity, "siblings", lambda core: {1 - core} if core < 2 else set())
    workers = [machine.worker() for _ in range(2)]
    half, driven = sorted(workers, key=lambda worker: worker.core or 0)
    assert driven.core == 2
    machine.crowd(driven, core2=0.9)
    machine.pass_time(own_core.PAUSE_S[1], core2=0.9)
    driven.look(machine.now)
    assert half.core is not None
    assert driven.core == 1 - half.core


def test_a_core_that_proc_stat_does_not_show_is_not_taken(machine: Machine) -> None:
    """Whether others use it could not be told."""
    machine.show(cores=1)
    assert machine.worker().core == 0
    assert machine.worker().core is None


def test_a_core_that_others_use_is_not_taken(machine: Machine) -> None:
    """Where the other one is another worker's, who was driven away stays unbound until they have gone."""
    driven, other = machine.worker(), machine.worker()
    crowded = driven.core
    for _ in range(20):
        machine.crowd(driven, other, **{f"core{crowded}": 1.0})
    assert (driven.core, len(machine.bound)) == (None, 3)
    machine.pass_time(own_core.LOOK_S)
    driven.look(machine.now)
    assert driven.core == crowded


def test_a_system_that_is_short_of_something_is_asked_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A passing fault costs no worker its core for good."""
    worker = OwnCore(True)
    machine.workers.append(worker)
    with monkeypatch.context() as patch:
        patch.setattr(own_core, "_usage", lambda: (_ for _ in ()).throw(OSError(errno.EMFILE, "too many")))
        worker.look(machine.now)
    assert worker.core is None
    machine.pass_time(own_core.LOOK_S)
    worker.look(machine.now)
    assert worker.core is not None


def test_a_system_that_does_not_tell_the_cores_is_served_unbound(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A filter of system calls may refuse even the question."""

    def refuse() -> frozenset[int]:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(affinity, "usable", refuse)
    assert machine.worker().core is None


def test_a_strange_proc_stat_is_no_fault(machine: Machine) -> None:
    """A worker serves on without a core of its own."""
    machine.write("cpu0 1 2\n")
    assert (machine.worker().core, machine.bound) == (None, [])


def test_it_looks_now_and_then_only(machine: Machine) -> None:
    """A worker looks at each turn, which costs nothing most of the time."""
    worker = machine.worker()
    core = worker.core
    for _ in range(own_core.LOOKS):
        machine.pass_time(own_core.LOOK_S / own_core.LOOKS - 0.01, **{f"core{core}": 1.0})
        worker.look(machine.now)
    assert worker.core == core


@pytest.mark.parametrize(("wanted", "cores"), [(False, 2), (True, 1), (True, 0)])
def test_where_there_is_nothing_to_choose_nothing_is_done(
    wanted: bool, cores: int, make_machine: MakeMachine
) -> None:
    """Switched off, or with one core, or where the system does not let one choose."""
    machine = make_machine(cores)
    assert (machine.worker(wanted).core, machine.bound) == (None, [])


def test_what_a_sandbox_forbids_is_tried_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker serves unbound, and the core is another one's."""
    tries = []

    def refuse(core: int) -> None:
        tries.append(core)
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(affinity, "bind", refuse)
        worker = machine.worker()
        for _ in range(3):
            worker.look(machine.now)
            machine.pass_time(own_core.LOOK_S)
    assert (worker.core, len(tries)) == (None, 1)
    assert None not in (machine.worker().core, machine.worker().core)
