"""What `flask webcall check` says of a worker's places: told by the one on this machine, set, or reckoned."""

from __future__ import annotations

from collections.abc import Iterator

from webcall.config.settings import CALLS_PER_CORE, Config
from webcall.core.cores import cores
from webcall.core.holdings import Finding
from webcall.core.worker_here import ask_worker, difference


def look_at_places(config: Config, *, publishable: bool) -> Iterator[Finding]:
    """Yield a warning where the calls that one address may let wait take all places of a worker.

    That matters with `publishable` keys, or where an operator says how many places there are. A worker that
    answers here, if it is not another deployment's, tells it itself; or else the setting does, or they are
    reckoned as if one ran here.
    """
    waiting, worker = config.limits.waiting_per_address, config.worker
    # One call at least may wait, on a worker of one place too.
    if waiting <= 1 or not (publishable or worker.max_calls):
        return
    here = ask_worker(worker)
    told = None if difference(here, config) else here.takes
    most, whose = told or worker.max_calls, "of a worker, by worker.max_calls"
    if told:
        whose = f"of the worker at {worker.metrics_url}"
    elif not most:
        count = cores()
        most = max(1, int(count * CALLS_PER_CORE))
        whose = (
            f"that a worker would have with the {count:g} cores of this machine or container; none of this "
            "deployment answers here, memory may make it fewer, and one elsewhere tells its own in its log's "
            "`worker registered`"
        )
    if most <= waiting:
        yield Finding(
            "limits",
            "warning",
            f"one address may have {waiting} calls wait, which take all {most} places {whose}",
            f"set limits.waiting_per_address (WEBCALL_LIMIT_WAITING) to {max(1, most // 2)}, or "
            "worker.max_calls (WEBCALL_WORKER_MAX_CALLS) higher",
        )
