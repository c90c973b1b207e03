"""Everybody in a room has exactly one assistant, whatever becomes of workers, events and watchers."""

from __future__ import annotations

import pytest

from benchmarks.watch_storm import storm


@pytest.mark.usefixtures("livekit_binary")
def test_everybody_ends_with_exactly_one_assistant() -> None:
    """Workers come late and are killed in mid-call, a watcher too, events come twice: each ends with one.

    `python -m benchmarks.watch_storm` does the same with 200 calls and ten workers.
    """
    outcome = storm(calls=8, workers=3, wave=8, kills=2, seed=1, late=True, sweep_s=1.0, grace_s=1.0, tries=7)
    told = outcome.lines()
    assert outcome.with_one == outcome.people == 8, told
    # None came by the first dispatch, since nobody was there to take it.
    assert outcome.sent_again >= 8, told
    assert outcome.killed > 0, told
    assert outcome.watchers_killed == 1, told
