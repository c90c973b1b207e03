"""LiveKit's clock, read from its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from structlog.testing import capture_logs

from webcall.core.livekit_faults import explain
from webcall.core.server_clock import MOST_S, ServerClock


def date(ahead_s: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)


@pytest.mark.parametrize("ahead_s", [600, -600, 86_400])
def test_a_clock_that_is_far_off_is_gone_by(ahead_s: float) -> None:
    """Where the clocks are far apart the time is LiveKit's, and this machine's again when they agree."""
    clock = ServerClock()
    clock.hear(date(ahead_s))
    assert clock.off
    assert abs(clock.now() - datetime.now(UTC) - timedelta(seconds=ahead_s)) < timedelta(seconds=3)
    clock.hear(date(0))
    assert not clock.off
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)


@pytest.mark.parametrize("told", [MOST_S - 5, 5 - MOST_S, "yesterday", "", "Mon, 99 Foo 2026"])
def test_a_clock_that_is_a_little_off_or_not_told_changes_nothing(told: float | str) -> None:
    """Within LiveKit's leeway, and by a date that is none, the time is this machine's."""
    clock = ServerClock()
    clock.hear(told if isinstance(told, str) else date(told))
    assert not clock.off
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_a_date_of_no_zone_is_utc() -> None:
    """A proxy's `Date` that ends in -0000 is read as any other, and fails no request."""
    clock = ServerClock()
    clock.hear(date(600).replace("GMT", "-0000"))
    assert abs(clock.ahead_s - 600) < 3


def test_an_answer_of_the_same_second_tells_a_clock_that_was_set() -> None:
    """The same `Date` again is read against the clock of now, which may have been set in between."""
    clock = ServerClock()
    told = date(600)
    clock.hear(told)
    before = clock.ahead_s
    clock.hear(told)
    assert clock.ahead_s < before


def test_each_turn_is_told_once() -> None:
    """However many answers say so: that the clocks differ, by how much, and that they agree again."""
    clock = ServerClock()
    with capture_logs() as lines:
        for ahead_s in (0, -600, -601, 600, 0, 1):
            clock.hear(date(ahead_s))
    assert [line["event"] for line in lines] == ["clocks differ", "clocks agree again"]
    assert abs(lines[0]["livekit_ahead_s"] + 600) <= 2


def test_a_refusal_names_the_clock() -> None:
    """A 401 of LiveKit is explained by the clocks where these are far apart, and else by the credentials."""
    from livekit import api

    refused = api.ServerError("unauthenticated", "eyJ", status=401)
    assert "its clock is -600 s off" in str(explain(refused, -600))
    assert "API key or secret" in str(explain(refused, 2))
