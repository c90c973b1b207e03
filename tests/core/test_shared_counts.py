"""What processes have counted when they are gone: added up, whatever their files look like."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.deployment import ROOT
from webcall.core import shared_counts

# prometheus_client looks for the folder when it is imported.
COUNTING = """
import sys
from webcall.core.counters import Counters
counters = Counters()
number, up = int(sys.argv[1]), float(sys.argv[2])
counters.calls_created.inc(number)
counters.stages.labels("store").observe(number)
counters.backend_up.labels("mongo").set(up)
counters.in_flight.inc(number)
import os
print(os.getpid())
"""


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(shared_counts.VARIABLE, str(tmp_path))
    return tmp_path


def ended(number: int, up: float) -> int:
    """Count in a process of its own, and return the id that it had."""
    arguments = [sys.executable, "-c", COUNTING, str(number), str(up)]
    return int(subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True).stdout)


def told() -> dict[str, float]:
    code = "from webcall.core.counters import Counters; print(Counters().exposition().decode())"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    samples = [s for family in text_string_to_metric_families(answer.stdout) for s in family.samples]
    wanted = {"webcall_calls_created_total", "webcall_backend_up", "webcall_in_flight"}
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for sample in samples
        if sample.name in wanted or sample.name.startswith("webcall_stage_duration_seconds")
    }


def test_a_file_that_is_being_made_holds_nothing(shared: Path) -> None:
    """An answer that comes between the making of a process's file and its first byte counts the others."""
    ended(2, 1)
    for kind in ("counter", "histogram", "gauge_livemostrecent"):
        (shared / f"{kind}_99999999.db").touch()
    assert told()["webcall_calls_created_total"] == 2


def test_the_counts_of_the_dead_are_kept_in_one_place(shared: Path) -> None:
    """Counters and buckets are added up; what was in flight, and what was known of backends, is gone."""
    pids = [ended(2, 1), ended(3, 0)]
    before = told()
    for pid in pids:
        shared_counts.bury(pid)
    assert {"counter_0.db", "histogram_0.db"} <= {path.name for path in shared.glob("*.db")}
    assert not [path for pid in pids for path in shared.glob(f"*_{pid}.db")]
    after = told()
    assert (before.pop("webcall_in_flight"), after.pop("webcall_in_flight")) == (5, 0)
    assert before.pop("webcall_backend_up") == 0, "as the later one saw it"
    assert before == after
    assert after["webcall_calls_created_total"] == 5
    assert after["webcall_stage_duration_seconds_bucket2.5"] == 1
    assert after["webcall_stage_duration_seconds_count"] == 2


def test_a_file_that_cannot_be_read_takes_no_answer_along(shared: Path) -> None:
    """A process killed while it made its file is left out, and the others are counted."""
    pid = ended(2, 1)
    shared_counts.bury(pid)
    (shared / "counter_77.db").touch()
    (shared / "histogram_77.db").write_bytes(b"\xff" * 64)
    shared_counts.bury(77)
    assert told()["webcall_calls_created_total"] == 2


def test_whoever_reads_is_not_waited_for_for_ever(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an answer's process is stopped in the middle, the master goes on, and the files stay."""
    monkeypatch.setattr(shared_counts, "_PATIENCE_S", 0.05)
    pid = ended(2, 1)
    with (shared / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        shared_counts.bury(pid)
        assert told()["webcall_calls_created_total"] == 2
    assert (shared / f"counter_{pid}.db").exists()
    monkeypatch.delenv(shared_counts.VARIABLE)
    shared_counts.bury(os.getpid())
