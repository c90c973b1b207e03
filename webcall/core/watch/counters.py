"""What the watcher counts for the operator's Prometheus. No label names a room or a person."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from webcall.core.notices import Notice


class WatchCounters:
    """The counters of one watcher."""

    CONTENT_TYPE = CONTENT_TYPE_LATEST

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a monotonic clock in seconds."""
        self._clock = clock
        self._began = clock()
        self._swept: float | None = None
        self.events_taken = 0
        self.calls_seen = 0
        self._registry = registry = CollectorRegistry()
        self.repaired = Counter(
            "webcall_dispatches_repaired", "Assistants sent to people who had none.", registry=registry
        )
        self.closed = Counter(
            "webcall_watch_rooms_closed",
            "Rooms closed, by the notice that the person got.",
            ["notice"],
            registry=registry,
        )
        self.sweeps = Counter("webcall_watch_sweeps", "Looks at all rooms.", ["result"], registry=registry)
        self.failures = Counter(
            "webcall_watch_livekit_failures",
            "Looks and acts that LiveKit failed, by kind.",
            ["kind"],
            registry=registry,
        )
        self.events = Counter("webcall_watch_events", "LiveKit's events taken.", registry=registry)
        self.rooms = Gauge(
            "webcall_watch_rooms", "Rooms of this service at the last look at all.", registry=registry
        )
        self.alone = Gauge(
            "webcall_watch_people_without_assistant",
            "Rooms with a person and no assistant at the last look at all.",
            registry=registry,
        )
        age = Gauge(
            "webcall_watch_last_sweep_age_seconds",
            "Since the last look at all rooms that succeeded, or since the start.",
            registry=registry,
        )
        age.set_function(self.sweep_age_s)
        for result in ("ok", "failed"):
            self.sweeps.labels(result)
        # An alert sees the first one only where the line was there before.
        self.closed.labels(Notice.no_assistant.name)

    def heard(self) -> None:
        """Note an event of LiveKit."""
        self.events_taken += 1
        self.events.inc()

    def swept(self) -> None:
        """Note that all rooms were looked at."""
        self._swept = self._clock()
        self.sweeps.labels("ok").inc()

    def sweep_age_s(self) -> float:
        """Return the seconds since the last sweep that succeeded, or else since the start."""
        return self._clock() - (self._began if self._swept is None else self._swept)

    @property
    def has_swept(self) -> bool:
        """Whether a sweep has succeeded."""
        return self._swept is not None

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
