"""`make soak`, for some seconds: its load passes on a good service, and its oracle sees a bad one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from benchmarks.soak.figures import Life, Sample
from benchmarks.soak.oracle import Asked, Oracle, Outcome
from benchmarks.soak.run import Plan, run
from benchmarks.soak.stage import staged

GOOD = Plan(whole_s=3, rate=6, person_s=0, disturbed_s=0, until_empty=False)
BAD = replace(GOOD, whole_s=2)


def test_the_load_passes_and_a_wrong_answer_does_not(livekit_binary: Path, tmp_path: Path) -> None:
    """Without faults every answer is right; a key revoked behind the oracle's back fails the verdict."""
    with staged(tmp_path, people=False) as stage:
        good = asyncio.run(run(stage, GOOD))
        stage.records.drop_key(stage.records.steady, keep_record=True)
        bad = asyncio.run(run(stage, BAD))
    assert good.passed, good.text()
    assert good.rooms_checked > 0
    assert {life.name for life in good.lives} == {"gunicorn master", "gunicorn worker"}
    assert not bad.passed
    assert any("401 instead of 20" in one.what for one in bad.oracle.wrong), bad.text()
    assert "FAILED" in bad.text()
    assert bad.as_json()["wrong"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(outcome: Outcome, sent: float, *, right: int = 200, needs: str = "livekit") -> Asked:
    return Asked("call", frozenset({right}), frozenset({needs}), sent, sent + 0.1, outcome)


def test_an_outage_excuses_only_what_it_causes() -> None:
    """A 500 is right while what is needed is down, and just after; never before, and never a 401."""
    clock = Clock()
    oracle = Oracle(clock)
    clock.now = 10
    with oracle.outage("livekit"):
        clock.now = 20
    for at in (9.95, 15, 20.5):
        oracle.judge(asked(500, at))
    assert oracle.wrong == []
    assert oracle.excused["call 500"] == 3
    found = [asked(500, 5), asked(500, 25), asked(401, 15), asked(200, 15, right=401), asked("broken", 15)]
    found += [asked(500, 15, needs="mongo"), asked("late", 15)]
    for number, one in enumerate(found, 1):
        assert not oracle.judge(one)
        assert len(oracle.wrong) == number, one
    assert oracle.judge(asked(200, 15))


def test_a_killed_process_excuses_broken_connections() -> None:
    """A connection may break while a process is killed, and at no other time."""
    clock = Clock()
    oracle = Oracle(clock)
    with oracle.outage("process"):
        clock.now = 2
    oracle.judge(asked("broken", 1))
    assert oracle.wrong == []
    oracle.judge(asked("broken", 3))
    assert len(oracle.wrong) == 1


def test_a_machine_without_time_excuses_what_is_late() -> None:
    """A 500 or a late answer while the machine does not run the service is none of its faults; a 401 is."""
    clock = Clock()
    oracle = Oracle(clock)
    oracle.starved = [(10.0, 12.0)]
    for outcome in (500, "late", 401, "broken"):
        oracle.judge(asked(outcome, 11))
    assert [one.what.partition(" ")[0] for one in oracle.wrong] == ["401", "broken"]
    oracle.judge(asked(500, 30))
    assert len(oracle.wrong) == 3


def life(growth_mb: float, descriptors: int = 0) -> Life:
    found = Life("gunicorn worker", 1)
    for at in range(0, 900, 15):
        share = at / 900
        found.samples.append(
            Sample(at, 100 + growth_mb * share, 60, int(20 + descriptors * share), threads=10)
        )
    return found


def test_a_leak_is_told() -> None:
    """A process whose memory or descriptors go on growing is a fault; one that stays is none."""
    assert life(5).faults() == []
    [told] = life(100).faults()
    assert "rss grew by" in told
    [told] = life(0, descriptors=100).faults()
    assert "descriptors grew by" in told
