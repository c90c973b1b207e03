"""Rooms: how they are named, and how two callers are kept from ever meeting in one."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from webcall.config.settings import CallConfig
from webcall.core.idempotency import LEFT_BEHIND, Candidate, Found, Mark
from webcall.core.livekit import LiveKit, LiveRoom, NewRoom
from webcall.core.stages import UNTIMED, Stages

# LiveKit's leeway for the clocks of others when it checks a token's expiry.
LEEWAY_S = 60


class NameTaken(Exception):
    """A room of that name lives, and is not one that the request may get."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A room that lives for an earlier request of the same: did somebody join, and the first token's end."""

    entered: bool
    expires_at: datetime


def draw(digits: int) -> str:
    """Return so many random hex digits, an even number."""
    return secrets.token_hex(digits // 2)


def random_candidate(assistant_id: str) -> Candidate:
    """Return a room and an identity that nobody can foresee, for a request that is not repeated.

    The room is `<assistant_id>_<8 hex digits>`; the id's characters are kept as they are. Identity and nonce
    have 128 random bits of their own each.
    """
    # All at once: asking the system lets go of the interpreter's lock, for which all threads then compete.
    drawn = draw(8 + 32 + 32)
    suffix, identity, nonce = drawn[:8], drawn[8:40], drawn[40:]
    return Candidate(f"{assistant_id}_{suffix}", f"caller-{identity}", nonce)


class Rooms:
    """Creates rooms, each with the one dispatch of its assistant, and finds them again."""

    def __init__(self, livekit: LiveKit, config: CallConfig, stages: Stages = UNTIMED) -> None:
        self._livekit = livekit
        self._config = config
        self._stages = stages

    def create(
        self,
        candidate: Candidate,
        *,
        expires_at: datetime,
        join_window: timedelta,
        agent_name: str,
        dispatch_metadata: str,
    ) -> Earlier | None:
        """Create the room and send the assistant into it, in one request to LiveKit.

        `expires_at` is the end of the token that goes with it, `join_window` that token's lifetime.
        Returns None if the room was made. If one of that name lives already, LiveKit answers with that
        one and has changed nothing: then returns what it is, or raises `NameTaken` if this request may not
        get it, as one that a dead LiveKit node has left behind and that is too old to be joined. Raises
        `LiveKitError`, and `IdempotencyConflict` if it was made for the same header with another body.
        """
        # A browser can read a room's metadata: it holds a nonce, and no digest that could be guessed.
        found, ends = candidate.found, expires_at
        if found is not None:
            # Of use only where LiveKit makes the room again: it is as old as it was, and so is its token.
            ends = found.mark.expires_at if found.mark.expires_at > self._livekit.now() else LEFT_BEHIND
        metadata = candidate.metadata(ends)
        room = NewRoom(
            name=candidate.room_name,
            metadata=metadata,
            agent_name=agent_name,
            dispatch_metadata=dispatch_metadata,
            # The room waits as long as a token for it is accepted, so a valid token meets its room.
            empty_timeout_s=int(join_window.total_seconds()) + LEEWAY_S,
            departure_timeout_s=self._config.departure_timeout_s,
            repeatable=candidate.repeatable,
        )
        with self._stages.timed("livekit"):
            made = self._livekit.create_room(room)
        if made.metadata != metadata:
            return self._earlier(candidate, made)[0]
        if found is None or not made.sid or made.sid != found.sid:
            return None
        # Made, and yet the room that was there before: its LiveKit node has died, and another one has made
        # it again with nobody inside. It closes when the old one would have.
        if ends == LEFT_BEHIND:
            raise NameTaken
        return Earlier(entered=False, expires_at=ends)

    def now(self) -> datetime:
        """Return the time by which LiveKit judges tokens."""
        return self._livekit.now()

    def in_order(self, candidates: Sequence[Candidate], before: Sequence[Candidate] = ()) -> list[Candidate]:
        """Return which rooms to ask for: one that lives for this request, then those of free names.

        `before` are those of the secret before this one: of them only a room that lives counts.

        Without this look a repeat would find the first generation's name free, once that room has
        closed, while the call goes on in the second's. Raises as `create`.
        """
        with self._stages.timed("livekit"):
            living = self._livekit.rooms([candidate.room_name for candidate in (*candidates, *before)])
        ranked: list[tuple[int, Candidate]] = []
        for candidate in (*candidates, *before):
            room = living.get(candidate.room_name)
            if room is None:
                if candidate not in before:
                    ranked.append((2, candidate))
                continue
            with contextlib.suppress(NameTaken):
                earlier, mark = self._earlier(candidate, room)
                rank = 0 if earlier.entered else 1
                ranked.append((rank, replace(candidate, found=Found(room.sid, mark))))
        return [candidate for _, candidate in sorted(ranked, key=lambda one: one[0])]

    def _earlier(self, candidate: Candidate, room: LiveRoom) -> tuple[Earlier, Mark]:
        mark = candidate.recognise(room.metadata)
        if mark is None:
            raise NameTaken
        waiting = mark.expires_at > self._livekit.now()
        # The number of people lags: who joined at the last moment is asked for only when it matters.
        entered = room.people > 0
        if not entered and not waiting and mark.expires_at != LEFT_BEHIND:
            entered = self._has_newcomers(room.name)
        if not (entered or waiting):
            # Nobody came, or LiveKit's node has died and left the room behind.
            raise NameTaken
        candidate.check_body(mark)
        return Earlier(entered, mark.expires_at), mark

    def _has_newcomers(self, name: str) -> bool:
        with self._stages.timed("livekit"):
            return self._livekit.has_newcomers(name)
