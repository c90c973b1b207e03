"""Threads are put on a core, and children are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import ROOT
from webcall import affinity

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


@pytest.mark.skipif(len(affinity.usable()) < 2, reason="needs two cores to choose from")
def test_threads_are_bound_and_a_child_is_not(tmp_path: Path) -> None:
    """Those that run and those to come; a process that indexes a large file gets all cores."""
    records = tmp_path / "assistants.json"
    records.write_text("[]")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(records)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "the child has all of them\n"), done.stderr


@pytest.mark.parametrize(
    ("text", "expected"), [("1\n", set()), ("0-1", {0}), ("1,5", {5}), ("0-2,5", {0, 2, 5})]
)
def test_siblings_are_read(
    text: str, expected: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux writes them."""
    folder = tmp_path / "cpu1" / "topology"
    folder.mkdir(parents=True)
    (folder / "thread_siblings_list").write_text(text)
    monkeypatch.setattr(affinity, "_CORES", tmp_path)
    assert (affinity.siblings(1), affinity.siblings(2)) == (expected, set())


def test_elsewhere_than_on_linux_there_is_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS, which has no such call."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        assert affinity.usable() == frozenset()


@pytest.mark.skipif(not affinity.usable(), reason="needs Linux")
def test_who_was_never_bound_changes_nothing() -> None:
    """Neither its own threads nor its children."""
    before = os.sched_getaffinity(0)
    affinity.release()
    affinity.release_child(os.getpid())
    assert os.sched_getaffinity(0) == before
