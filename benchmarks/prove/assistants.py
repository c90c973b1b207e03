"""Every human gets exactly one assistant, killed workers or not."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from benchmarks.prove.promise import Tried
from benchmarks.watch_storm import storm

CALLS = int(os.environ.get("WEBCALL_PROVE_CALLS") or 40)
WORKERS, WAVE, KILLS, SEED = 5, 20, 3, 1
# Shorter than the settings' defaults, so that a wave takes a minute.
RULES = {"sweep_s": 2.0, "grace_s": 3.0, "tries": 6}


def everyone_has_one_assistant(_: Path) -> Tried:
    """Kill workers at random under waves of people who join, and count everybody's assistants."""
    came = storm(calls=CALLS, workers=WORKERS, wave=WAVE, kills=KILLS, seed=SEED, **RULES)
    alone = f"{statistics.median(came.alone_s):.1f} s in the median" if came.alone_s else "never"
    return Tried(
        f"{came.people} people; {came.killed} times a worker killed at random, of {WORKERS}, and "
        f"{came.watchers_killed} times a watcher; every webhook twice",
        f"{came.with_one} of {came.people} ended with exactly one, {came.with_none} with none, "
        f"{came.with_more} with more; {came.sent_again} assistants sent again; after LiveKit had noticed, "
        f"which takes it about 21 s, a person waited {alone}, as its list shows it",
        kept=came.good,
    )
