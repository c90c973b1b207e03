"""The worker's metrics that others read, by their names."""

from __future__ import annotations

MOST_CALLS = "webcall_worker_most_calls"
"""How many calls it takes at once."""

WORKS_FOR = "webcall_worker_livekit"
"""Its label `url` tells which LiveKit it works for."""
