"""The use case: a caller and a request become a living room and a token to join it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from webcall.config.schema import Config
from webcall.core.dispatch import dispatch_metadata, filled_definition
from webcall.core.lookup import Assistants
from webcall.core.rooms import Rooms, room_name
from webcall.core.tokens import mint, new_identity
from webcall.errors import InvalidMetadata, LiveKitError, RecordError, TextOnlyUnsupported
from webcall.interfaces import Assistant, Caller

# A clash of names is one in four thousand million for each living room of the same assistant.
_DRAWS = 8


@dataclass(frozen=True, slots=True)
class CallRequest:
    """What a caller asks for; checked by the request's schema."""

    assistant_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    text_only: bool = False


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A room that exists, with its assistant on the way, and the token that joins it."""

    room_name: str
    token: str = field(repr=False)
    server_url: str
    expires_at: datetime


class Calls:
    """Places calls."""

    def __init__(self, config: Config, assistants: Assistants, rooms: Rooms) -> None:
        self._config = config
        self._assistants = assistants
        self._rooms = rooms

    def place(self, caller: Caller, request: CallRequest) -> PlacedCall:
        """Find the assistant, fill its placeholders, mint the token, create the room.

        The token comes before the room, so that a failure leaves nothing behind. Raises
        `AssistantNotFound`, `TextOnlyUnsupported`, `InvalidMetadata` for what the caller can mend,
        and `BackendError`, `TemplateError`, `LiveKitError` for what the operator has to.
        """
        assistant = self._assistants.find(request.assistant_id, caller)
        if request.text_only and assistant.mode == "realtime":
            raise TextOnlyUnsupported
        definition = filled_definition(assistant, request.metadata, text_only=request.text_only)
        livekit, call = self._config.livekit, self._config.call
        identity = new_identity()
        for _ in range(_DRAWS):
            name = room_name(request.assistant_id)
            dispatch = self._dispatch(name, assistant, definition, request)
            token = mint(
                api_key=livekit.api_key,
                api_secret=livekit.api_secret,
                room=name,
                identity=identity,
                text_only=request.text_only,
                ttl=timedelta(seconds=call.join_window_s),
                now=datetime.now(UTC),
            )
            agent_name = assistant.agent_name or livekit.agent_name
            if self._rooms.create(name, agent_name=agent_name, dispatch_metadata=dispatch):
                return PlacedCall(name, token.jwt, livekit.server_url, token.expires_at)
        raise LiveKitError("answer", f"{_DRAWS} names in a row belonged to living rooms")

    def _dispatch(
        self, room: str, assistant: Assistant, definition: Mapping[str, Any], request: CallRequest
    ) -> str:
        rest: Any = {
            "room": room,
            "text_only": request.text_only,
            "max_duration_s": self._config.call.max_duration_s,
        }
        try:
            return dispatch_metadata(definition=definition, metadata=request.metadata, **rest)
        except RecordError:
            # Who is at fault? What is too large without metadata would be for every caller.
            bare = filled_definition(assistant, {}, text_only=request.text_only)
            dispatch_metadata(definition=bare, metadata={}, **rest)
            raise InvalidMetadata(
                "With it, the assistant's data are more than LiveKit takes: send less."
            ) from None
