"""Rooms: how they are named, and how two callers are kept from ever meeting in one."""

from __future__ import annotations

import json
import secrets

from webcall.config.schema import CallConfig
from webcall.core.livekit import LiveKit, NewRoom

# LiveKit's leeway for the clocks of others when it checks a token's expiry.
LEEWAY_S = 60


def draw_suffix() -> str:
    """Return 8 random hex digits."""
    return secrets.token_hex(4)


def room_name(assistant_id: str) -> str:
    """Return `<assistant_id>_<8 hex digits>`; the id's characters are kept as they are."""
    return f"{assistant_id}_{draw_suffix()}"


class Rooms:
    """Creates rooms, each with the one dispatch of its assistant."""

    def __init__(self, livekit: LiveKit, config: CallConfig) -> None:
        self._livekit = livekit
        self._config = config

    def create(self, name: str, *, agent_name: str, dispatch_metadata: str) -> bool:
        """Create the room and send the assistant into it, in one request to LiveKit.

        Returns False if a room of that name lives already: LiveKit then answers with that room's
        metadata, which lacks the nonce made here, and has changed nothing. Raises `LiveKitError`.
        """
        # A browser can read a room's metadata: it holds nothing but the nonce.
        metadata = json.dumps({"nonce": secrets.token_hex(16)})
        room = NewRoom(
            name=name,
            metadata=metadata,
            agent_name=agent_name,
            dispatch_metadata=dispatch_metadata,
            # The room waits as long as a token for it is accepted, so a valid token meets its room.
            empty_timeout_s=self._config.join_window_s + LEEWAY_S,
            departure_timeout_s=self._config.departure_timeout_s,
        )
        return self._livekit.create_room(room) == metadata
