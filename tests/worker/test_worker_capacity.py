"""How many calls a worker takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from webcall.config.settings import CALLS_PER_CORE
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
