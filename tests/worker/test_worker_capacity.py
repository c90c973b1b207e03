"""How many calls a worker takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from webcall.config.settings import CALLS_PER_CORE
from webcall.core import cores as cores_here
from webcall.worker import capacity
from webcall.worker.capacity import MEMORY_PER_CALL_MB, SPARE_MB, calls_that_fit


@pytest.mark.parametrize(
    ("max_calls", "cores", "available_mb", "expected"),
    [
        (7, 1, 0, 7),
        (0, 2, 1_000_000, 2 * CALLS_PER_CORE),
        (0, 0.5, 1_000_000, CALLS_PER_CORE // 2),
        (0, 64, SPARE_MB + 3 * MEMORY_PER_CALL_MB, 3),
        (0, 0.01, 1_000_000, 1),
        (0, 8, 0, 1),
    ],
)
def test_calls_that_fit(max_calls: int, cores: float, available_mb: float, expected: int) -> None:
    """The operator's number wins; else cores and memory bound the calls, and one is always taken."""
    assert calls_that_fit(max_calls, cores=cores, available_mb=available_mb) == expected


def test_a_container_has_its_own_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a container's limit of memory the rest of the machine does not count."""
    monkeypatch.setattr(capacity, "_CGROUP", tmp_path)
    free = capacity.available_mb()
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 0\n")
    assert capacity.available_mb() == pytest.approx(free, rel=0.2)
    (tmp_path / "memory.max").write_text(str(300 * 2**20))
    (tmp_path / "memory.current").write_text(str(250 * 2**20))
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {150 * 2**20}\n")
    assert capacity.available_mb() == 200
    assert not capacity.memory_for_one_more()


@pytest.mark.parametrize(
    ("files", "number", "expected"),
    [
        ({}, "", 6),
        ({"cpu.max": "max 100000"}, "", 6),
        ({"cpu.max": "150000 100000\n"}, "", 1.5),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, "", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "", 6),
        ({"cpu.max": "150000 100000"}, "4", 4),
        ({"cpu.max": "what"}, "many", 6),
    ],
)
def test_cores_of_a_container(
    files: dict[str, str], number: str, expected: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's limit counts, in both of the kernel's forms, and an operator's word before it."""
    monkeypatch.setattr(cores_here, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setenv("NUM_CPUS", number)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores_here.cores() == expected
