"""The folder in which processes count together, and what becomes of the files of those that are gone.

prometheus_client keeps a file for each process and kind of metric, and reads all of them for each answer;
it never lets go of those of the dead. Here their counts are added up in one file for each kind, so that
years of reloads cost no more than one process more.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

log = structlog.stdlib.get_logger("webcall.metrics")

# In place of a process id in a file's name: no process of ours has it.
_THE_DEAD = 0
# What can be added up. The service's gauges are of the living alone, and go with their process.
_KINDS = ("counter", "histogram")
# An answer is read in some milliseconds, unless its process has been stopped meanwhile.
_PATIENCE_S = 0.5


def folder() -> Path | None:
    """Return the folder in which this process and others count together; None where it counts alone."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


@contextmanager
def everybody(shared: Path) -> Iterator[CollectorRegistry]:
    """Give what all processes have counted, to be read inside the block."""
    registry = CollectorRegistry()
    registry.register(_Everybody(shared))
    with _locked(shared, fcntl.LOCK_SH):
        yield registry


class _Everybody(Collector):
    """What the files hold; one without a size is being made by its process just now, and holds nothing."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared

    def collect(self) -> Iterable[Metric]:
        """Return all that has been counted."""
        files = [str(path) for path in self._shared.glob("*.db") if _size(path)]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # a gauge of a process that has ended meanwhile


def bury(pid: int) -> None:
    """Take what an ended process had in flight off the gauges, and add its counts to those of the dead.

    For the one process that knows of the ends. Raises nothing: a master that stumbled here would take its
    workers along.
    """
    shared = folder()
    if shared is None:
        return
    try:
        mark_process_dead(pid, str(shared))  # type: ignore[no-untyped-call]
        with _locked(shared, fcntl.LOCK_EX, patience_s=_PATIENCE_S):
            for kind in _KINDS:
                _add(shared / f"{kind}_{pid}.db", shared / f"{kind}_{_THE_DEAD}.db")
    except OSError as error:
        log.warning("counts of an ended worker stay in files of their own", error=error.strerror)


def _add(path: Path, total: Path) -> None:
    """Add one file's counts to another's, and remove it."""
    if not path.exists():
        return
    sums = Counter(_read(total))
    sums.update(_read(path))
    unfinished = total.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    written = MmapedDict(str(unfinished))  # type: ignore[no-untyped-call]
    for key, value in sums.items():
        written.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]
    unfinished.replace(total)
    path.unlink()


def _read(path: Path) -> dict[str, float]:
    """Return what a file holds. One that its process did not finish to make holds nothing."""
    try:
        found = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        return {key: value for key, value, _, _ in found}
    except FileNotFoundError:
        return {}
    except (struct.error, RuntimeError, UnicodeDecodeError):
        log.warning("counts of an ended worker cannot be read", file=path.name)
        return {}


@contextmanager
def _locked(shared: Path, how: int, patience_s: float | None = None) -> Iterator[None]:
    """Hold the folder's lock: an answer would count a process twice, or not at all, that is just added.

    Raises `BlockingIOError` if it is not to be had within the patience.
    """
    with (shared / "lock").open("a") as lock:
        if patience_s is None:
            fcntl.flock(lock, how)
        else:
            _take(lock, how, time.monotonic() + patience_s)
        yield


def _take(lock: TextIO, how: int, until: float) -> None:
    while True:
        try:
            return fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise
            time.sleep(0.005)
