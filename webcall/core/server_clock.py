"""How far LiveKit's clock is off this machine's, read from its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import structlog

log = structlog.stdlib.get_logger("webcall.livekit")

# LiveKit's leeway is a minute; up to here tokens are well by either clock.
MOST_S = 30


class ServerClock:
    """Knows the time by which LiveKit judges tokens: this machine's, unless the two are far apart.

    It alone says whether a token still holds, so that a token made by a clock that is ten minutes behind
    would be a 200 with which nobody can join.
    """

    def __init__(self) -> None:
        # Read once: those of one second are alike.
        self._heard = "", datetime.now(UTC)
        self.ahead_s = 0.0
        """How many seconds LiveKit's clock is ahead of this machine's, as its last answers had it."""

    @property
    def off(self) -> bool:
        """Whether the two are too far apart to go by this machine's."""
        return abs(self.ahead_s) > MOST_S

    def now(self) -> datetime:
        """Return the time by LiveKit's clock if it is far off this machine's, or else by this machine's."""
        now = datetime.now(UTC)
        return now + timedelta(seconds=round(self.ahead_s)) if self.off else now

    def hear(self, date: str) -> None:
        """Take the `Date` of an answer (RFC 9110, section 6.6.1) that has come just now."""
        if date != self._heard[0]:
            try:
                told = parsedate_to_datetime(date)
            except ValueError:
                return
            # "-0000" is a time of no known zone, and HTTP's is UTC.
            self._heard = date, told if told.tzinfo else told.replace(tzinfo=UTC)
        ahead_s = (self._heard[1] - datetime.now(UTC)).total_seconds()
        before, self.ahead_s = self.off, ahead_s
        if self.off and not before:
            fix = "set this machine's clock, and LiveKit's, by a time server"
            log.error("clocks differ", livekit_ahead_s=round(ahead_s), fix=fix)
        elif before and not self.off:
            log.warning("clocks agree again")
