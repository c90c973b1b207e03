"""Which of the cores this process's threads and children run on, where the system lets one say so (Linux)."""

from __future__ import annotations

import os
import sys
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

_TASKS = Path("/proc/self/task")
_CORES = Path("/sys/devices/system/cpu")


class _Known:
    """What this process might use before it was bound; nothing as long as it has not been."""

    cores: Set[int] = frozenset()


def usable() -> Set[int]:
    """Return the cores that this process may use, bound or not; none where it cannot choose among them."""
    if sys.platform != "linux":
        return frozenset()
    return _Known.cores or os.sched_getaffinity(0)


def siblings(core: int) -> Set[int]:
    """Return the others of the system's cores that are, in truth, the same one (SMT); none where unknown."""
    try:
        text = (_CORES / f"cpu{core}/topology/thread_siblings_list").read_text()
    except OSError:
        return frozenset()
    found: set[int] = set()
    for first, _, last in (part.partition("-") for part in text.strip().split(",")):
        found.update(range(int(first), int(last or first) + 1))
    return found - {core}


def bind(core: int) -> None:
    """Let all threads of this process, and those to come, run on one core alone.

    Raises OSError if that is not allowed.
    """
    _Known.cores = usable()
    _put_threads_on({core})


def release() -> None:
    """Let all threads run on all cores again. Raises OSError as `bind`."""
    if _Known.cores:
        _put_threads_on(_Known.cores)


def release_child(pid: int) -> None:
    """Let a process that has just been started, and has this one's core from it, run on all of them."""
    if sys.platform == "linux" and _Known.cores:
        # It may have ended.
        with suppress(OSError):
            os.sched_setaffinity(pid, _Known.cores)


def _put_threads_on(cores: Set[int]) -> None:
    if sys.platform != "linux":
        return
    done: set[int] = set()
    # Again until there is none left: one that was not bound yet may have started another meanwhile.
    while tasks := {int(task.name) for task in _TASKS.iterdir()} - done:
        for task in tasks:
            # It may have ended.
            with suppress(ProcessLookupError):
                os.sched_setaffinity(task, cores)
        done |= tasks
