"""No call is lost in a restart."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.prove.ground import WORKERS, Ground, service
from benchmarks.prove.promise import Tried

CALLERS = 6
RELOADS, STOPS = 5, 3
# As long as a client waits; a reload on a busy machine takes seconds.
PATIENCE_S = 60.0


@dataclass
class Calls:
    """What became of the calls: a status, `refused` (never taken) or `lost` (taken, and no answer came)."""

    outcomes: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def place(self, ground: Ground) -> None:
        """Place a call on a connection of its own, and count what came of it."""
        try:
            outcome = str(ground.call().status)
        except ConnectionRefusedError:
            outcome = "refused"
        except (OSError, http.client.HTTPException):
            outcome = "lost"
        with self.lock:
            self.outcomes[outcome] += 1

    @property
    def answered(self) -> int:
        """How many got their room."""
        return self.outcomes["200"]


@contextmanager
def calling(ground: Ground) -> Iterator[Calls]:
    """Place calls, one after the other by each of some callers, while the block runs."""
    calls, over = Calls(), threading.Event()

    def call() -> None:
        while not over.is_set():
            calls.place(ground)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield calls
    finally:
        over.set()
        for thread in threads:
            thread.join()


def no_call_is_lost(folder: Path) -> Tried:
    """Reload and stop the service under load: whoever was taken is answered."""
    with service(folder) as ground:
        with calling(ground) as reloaded:
            for _ in range(RELOADS):
                _reload(ground)
        stopped = Counter[str]()
        for _ in range(STOPS):
            with calling(ground) as calls:
                before = calls.answered
                while calls.answered < before + 10 * CALLERS:
                    time.sleep(0.05)
                ground.service.process.send_signal(signal.SIGTERM)
                ground.service.process.wait(PATIENCE_S)
            stopped += calls.outcomes
            ground.service.start()
    lost = reloaded.outcomes["lost"] + stopped["lost"]
    others = {*reloaded.outcomes, *stopped} - {"200", "lost", "refused"}
    return Tried(
        f"{sum(reloaded.outcomes.values())} calls by {CALLERS} callers over {RELOADS} SIGHUP, "
        f"{stopped['200'] + stopped['lost']} taken ones over {STOPS} SIGTERM",
        f"{lost} lost, {reloaded.outcomes['refused']} refused over a SIGHUP; after a SIGTERM new ones are "
        "refused until the next start",
        kept=lost == 0 and not others and reloaded.outcomes["refused"] == 0,
    )


def _reload(ground: Ground) -> None:
    assert ground.service.process is not None
    master = psutil.Process(ground.service.process.pid)
    before = {one.pid for one in master.children()}
    master.send_signal(signal.SIGHUP)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        now = {one.pid for one in master.children()}
        if len(now) == WORKERS and not now & before:
            return
        time.sleep(0.05)
    raise SystemExit("a reload has not ended")
