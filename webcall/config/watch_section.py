"""The section of the watcher."""

from __future__ import annotations

from webcall.config.fields import one_address
from webcall.config.section import Section, seconds, text, whole
from webcall.config.settings import WatchConfig


class WatchSection(Section):
    """`watch:`"""

    MAKES = WatchConfig

    bind = text(
        "address and port on which the watcher takes LiveKit's events, with its health and metrics",
        load_default="127.0.0.1:8084",
        validate=one_address,
    )
    sweep_s = seconds(10, 0.1, 3600, "how often the watcher polls all rooms, in addition to LiveKit's events")
    grace_s = seconds(
        10,
        0.1,
        600,
        "how long a person may be without an assistant before one is sent; each next wait is twice as long",
    )
    tries = whole(3, 1, 20, "assistants sent after the first one before the call is given up")
    overtime_s = seconds(
        30, 0, 3600, "how long after call.max_duration_s a call is closed that its assistant has not ended"
    )
