"""What `flask webcall check` can know of a worker's places: it asks the one at `worker.metrics_port`."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator

from webcall.config.settings import CALLS_PER_CORE, Config, WorkerConfig
from webcall.core.capacity import MOST_CALLS, cores
from webcall.core.holdings import Finding
from webcall.core.neighbours import read


def told_by_worker(worker: WorkerConfig) -> int | None:
    """Return how many calls the worker at `worker.metrics_port` takes; None if none is there or tells."""
    if not worker.metrics_url:
        return None
    try:
        metrics = read(f"{worker.metrics_url}/metrics").decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        return None
    found = re.search(rf"^{MOST_CALLS}(?:{{[^}}]*}})? (\d+)(?:\.0)?$", metrics, re.MULTILINE)
    return int(found[1]) if found else None


def look_at_places(config: Config, *, publishable: bool) -> Iterator[Finding]:
    """Yield a warning where the calls that one address may let wait take all places of a worker.

    That matters with `publishable` keys, or where an operator says how many places there are. A worker that
    answers here tells it itself; or else the setting does, or they are reckoned as if one ran here.
    """
    waiting, worker = config.limits.waiting_per_address, config.worker
    if not waiting or not (publishable or worker.max_calls):
        return
    told = told_by_worker(worker)
    most, whose = told or worker.max_calls, "of a worker, by worker.max_calls"
    if told:
        whose = f"of the worker at {worker.metrics_url}"
    elif not most:
        here = cores()
        most = max(1, int(here * CALLS_PER_CORE))
        whose = (
            f"that a worker would have with the {here:g} cores of this machine or container; none answers "
            "here, memory may make it fewer, and one elsewhere tells its own in its log's `worker registered`"
        )
    if most < waiting:
        yield Finding(
            "limits",
            "warning",
            f"one address may have {waiting} calls wait, which take all {most} places {whose}",
            "set limits.waiting_per_address lower, or worker.max_calls (WEBCALL_WORKER_MAX_CALLS) higher",
        )
