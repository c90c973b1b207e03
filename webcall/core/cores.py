"""How many cores may be used here, by which a worker counts the calls that it takes."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores() -> float:
    """Return how many cores may be used here: a container's limit, or those of the machine.

    `NUM_CPUS` says otherwise where that is not to be seen from inside, as livekit-agents has it.
    """
    limits = (os.environ.get("NUM_CPUS", ""), _first(_CGROUP / "cpu.max"), _quota_of_version_1())
    return next((limit for limit in map(_number, limits) if limit > 0), float(os.cpu_count() or 1))


def _first(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _quota_of_version_1() -> str:
    folder = _CGROUP / "cpu"
    return f"{_first(folder / 'cpu.cfs_quota_us')} {_first(folder / 'cpu.cfs_period_us')}"


def _number(limit: str) -> float:
    """Return the cores that a limit says, `1.5` or a quota and its period; 0 if it says none."""
    try:
        numbers = [float(part) for part in limit.split()]
    except ValueError:
        return 0.0  # "max"
    if len(numbers) == 2:
        return numbers[0] / numbers[1] if numbers[1] > 0 else 0.0
    return numbers[0] if len(numbers) == 1 else 0.0
