"""How many calls this worker takes, by the cores (`webcall.core.cores`) and by memory."""

from __future__ import annotations

from pathlib import Path

import psutil

from webcall.config.settings import CALLS_PER_CORE

# Measured with the demo's models, whose speech is made and heard here: a voice call takes a fifth of a core
# while it is talked in, and 67 MB of its own (94 with its share of what processes have in common), a typed
# one 40 MB.
MEMORY_PER_CALL_MB = 120
# Left to the rest of the machine.
SPARE_MB = 512

_CGROUP = Path("/sys/fs/cgroup")
_MB = 1024 * 1024


def calls_that_fit(max_calls: int, *, cores: float, available_mb: float) -> int:
    """Return how many calls a worker takes at once: `max_calls`, or if that is 0 by cores and memory."""
    if max_calls:
        return max_calls
    by_memory = int((available_mb - SPARE_MB) / MEMORY_PER_CALL_MB)
    return max(1, min(int(cores * CALLS_PER_CORE), by_memory))


def memory_for_one_more() -> bool:
    """Return whether memory is left for one more call."""
    return available_mb() > MEMORY_PER_CALL_MB + SPARE_MB / 2


def available_mb() -> float:
    """Return the memory in MB that is free to use, within a container's own limit."""
    free: int = psutil.virtual_memory().available
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        statistics = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # Files that the kernel keeps in memory and gives up when it is wanted.
        used -= int(statistics["inactive_file"])
    except (OSError, ValueError, KeyError):
        return free / _MB
    return (free if limit == "max" else min(free, int(limit) - used)) / _MB
