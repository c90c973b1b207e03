"""What `flask webcall check` can know of this machine's worker: it asks at the ports of `worker`."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from webcall.config.settings import Config, WorkerConfig
from webcall.core.holdings import Finding
from webcall.core.model_needs import default_warnings
from webcall.core.neighbours import read
from webcall.core.worker_metrics import MOST_CALLS, WORKS_FOR


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker tells of itself; None for what it does not tell, or where none answers."""

    agent_name: str | None
    takes: int | None
    livekit: str | None


def ask_worker(worker: WorkerConfig) -> Told:
    """Return what the worker at `worker.health_port` and `worker.metrics_port` tells."""
    metrics = _read(worker.metrics_url, "/metrics")
    takes = re.search(rf"^{MOST_CALLS}(?:{{[^}}]*}})? (\d+)(?:\.0)?$", metrics, re.MULTILINE)
    livekit = re.search(rf'^{WORKS_FOR}{{[^}}]*\burl="([^"]*)"', metrics, re.MULTILINE)
    try:
        named = json.loads(_read(worker.health_url, "/worker")).get("agent_name", "")
    except (ValueError, AttributeError):
        named = None  # nobody, or another program
    return Told(named, int(takes[1]) if takes else None, livekit[1] if livekit else None)


def _read(url: str, path: str) -> str:
    try:
        return read(url + path).decode("utf-8", "replace") if url else ""
    except (OSError, http.client.HTTPException):
        return ""


def difference(told: Told, config: Config) -> str:
    """Return what says that a worker is another deployment's; empty where nothing does."""
    name, url = config.livekit.agent_name, config.livekit.http_url
    if told.agent_name not in (None, name):
        return f"is registered as '{told.agent_name}', and livekit.agent_name is '{name}' here"
    if told.livekit not in (None, url):
        return f"works for {told.livekit}, and livekit.url is {url} here"
    return ""


def look_at_worker(config: Config) -> Iterator[Finding]:
    """Yield whether a worker answers on this machine, and whether it is this deployment's."""
    at = config.worker.health_url
    if not at:
        return
    told = ask_worker(config.worker)
    if told.agent_name is None:
        yield Finding(
            "worker",
            "warning",
            f"none answers at {at}: does it run elsewhere? Without one nobody speaks in a call",
            "start `python -m webcall.worker start`, or look at the worker's log where it runs",
        )
    elif other := difference(told, config):
        yield Finding(
            "worker",
            "warning",
            f"the one at {at} {other}",
            "if it is another deployment's, start one with these settings, on ports of its own: "
            "worker.health_port, worker.metrics_port",
        )
    else:
        takes = "" if told.takes is None else f", and takes {told.takes} calls at once"
        yield Finding("worker", "ok", f"the one at {at} answers as '{told.agent_name}'{takes}")
        for warning in default_warnings(config.worker):
            yield Finding(
                "worker", "warning", warning, "assistants that name no model of their own cannot be called"
            )
