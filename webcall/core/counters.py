"""What is counted for the operator's Prometheus. No label ever names an owner, a key, an assistant or a room.

Several processes count together where `PROMETHEUS_MULTIPROC_DIR` names a folder, as gunicorn.conf.py
makes it; prometheus_client looks at it when it is imported. More: `webcall.core.shared_counts`.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from functools import cache
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from webcall.core import shared_counts
from webcall.errors import LiveKitFault

# In seconds: a call on a healthy LiveKit takes some milliseconds, one on a silent LiveKit `timeout_s`.
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# A look-up in memory takes some microseconds, one in a database about a millisecond.
_STAGE_BUCKETS_S = (0.001, 0.0025, *_BUCKETS_S)


class Counters:
    """The counters of one application."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "webcall_requests", "Answers, by route and status.", ["route", "status"], registry=registry
        )
        self.durations = Histogram(
            "webcall_request_duration_seconds",
            "From a request's arrival at the application to its answer, by route.",
            ["route"],
            buckets=_BUCKETS_S,
            registry=registry,
        )
        self.stages = Histogram(
            "webcall_stage_duration_seconds",
            "Of one request's work, by stage; a stage may come more than once in a request.",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=registry,
        )
        self.refused = Counter(
            "webcall_refused", "Requests for calls and listings that failed.", ["reason"], registry=registry
        )
        self.calls_created = Counter(
            "webcall_calls_created", "Calls placed: rooms created, repeats left out.", registry=registry
        )
        self.livekit_failures = Counter(
            "webcall_livekit_failures", "Requests that LiveKit failed, by kind.", ["kind"], registry=registry
        )
        self.backend_failures = Counter(
            "webcall_backend_failures", "Requests that a backend failed.", registry=registry
        )
        self.cache_answers = Counter(
            "webcall_cache_answers",
            "Look-ups of backends with a cache: hit, miss, shared by those who wait, or stale in an outage.",
            ["backend", "side", "result"],
            registry=registry,
        )
        self.record_faults = Counter(
            "webcall_record_faults",
            "Requests that failed by a record that cannot be used.",
            registry=registry,
        )
        self.limits_storage_failures = Counter(
            "webcall_limits_storage_failures",
            "Counts that the limits' storage did not take: it failed, or was left alone after it had.",
            registry=registry,
        )
        self.observer_events = Counter(
            "webcall_observer_events",
            "What plugins were told of calls: told, failed (it raised), or dropped (it was too slow).",
            ["plugin", "result"],
            registry=registry,
        )
        self.backend_up = Gauge(
            "webcall_backend_up",
            "Whether LiveKit, a backend or the limits' storage answered when last asked: 1 or 0.",
            ["backend"],
            registry=registry,
            # Whichever process asked last knows best. Of the living: those before a reload may have
            # had other backends.
            multiprocess_mode="livemostrecent",
        )
        self.in_flight = Gauge(
            "webcall_in_flight",
            "Requests that hold a place of the gate.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.livekit_away = Gauge(
            "webcall_livekit_away",
            "Worker processes that take LiveKit to be away: they ping it, and do not ask it for rooms.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        # An alert on an increase sees the first one only where the line was there before.
        for kind in get_args(LiveKitFault):
            self.livekit_failures.labels(kind)
        self._build = CollectorRegistry()
        self._build.register(_Build())

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format, of all processes that count together."""
        build = generate_latest(self._build)
        folder = shared_counts.folder()
        if folder is None:
            return generate_latest(self._registry) + build
        with shared_counts.everybody(folder) as everybody:
            return generate_latest(everybody) + build


class _Build(Collector):
    """Tells what runs. Not by a gauge, which would be a line of each process."""

    def collect(self) -> Iterator[Metric]:
        told = GaugeMetricFamily("webcall_build_info", "What runs; always 1.", labels=["version", "python"])
        told.add_metric([version(), platform.python_version()], 1)
        yield told


@cache
def version() -> str:
    """Return the version of the package that runs."""
    try:
        return importlib.metadata.version("webcall")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
