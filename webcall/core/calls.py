"""The use case: a caller and a request become a living room and a token to join it with."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from webcall.config.settings import Config
from webcall.core.dispatch import dispatch_metadata, filled_definition
from webcall.core.endings import Entry
from webcall.core.idempotency import Candidate, derived_candidates
from webcall.core.leases import Lease, Leases
from webcall.core.ledger import Ledger, Written
from webcall.core.lookup import Assistants
from webcall.core.permissions import check_metadata_names
from webcall.core.rooms import LEEWAY_S, NameTaken, Rooms, random_candidate
from webcall.core.server_clock import MOST_S
from webcall.core.tokens import Participant, Token, mint
from webcall.errors import (
    InvalidMetadata,
    LiveKitError,
    RecordError,
    TextOnlyUnsupported,
    TooManyCalls,
)
from webcall.interfaces import Assistant, Caller

_CLOCKS_AGREE = timedelta(seconds=MOST_S)
# A clash of names is one in four thousand million for each living room of the same assistant.
_DRAWS = 8

_ALL_WAIT = (
    "Several calls of this Idempotency-Key wait for somebody to join them. "
    "Try again when one has closed, or send a new Idempotency-Key."
)


@dataclass(frozen=True, slots=True)
class CallRequest:
    """What a caller asks for; checked by the request's schema."""

    assistant_id: str
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    text_only: bool = False
    # What a repeat is compared with: the request's body as a JSON value.
    body: Any = field(default=None, repr=False)
    participant: Participant = field(default_factory=Participant)
    # The longest that the token may live, where the configured lifetime is too long for the caller's kind.
    longest_join_s: int | None = None


@dataclass(frozen=True, slots=True)
class PlacedCall:
    """A room that exists, with its assistant on the way, and the token that joins it."""

    room_name: str
    token: str = field(repr=False)
    server_url: str
    expires_at: datetime
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """What is known of a request beside its body: the client's address, and its Idempotency-Key."""

    address: str = ""
    idempotency_key: str | None = None


class Calls:
    """Places calls."""

    def __init__(
        self,
        config: Config,
        assistants: Assistants,
        rooms: Rooms,
        leases: Leases | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Take the parts; without leases no call is counted, without a ledger nothing is kept of calls."""
        self._config = config
        self._assistants = assistants
        self._rooms = rooms
        self._leases = leases
        self._ledger = ledger

    def place(self, caller: Caller, request: CallRequest, visit: Visit = Visit()) -> PlacedCall:
        """Find the assistant, fill its placeholders, mint the token, create the room.

        The token comes before the room, so that a failure leaves nothing behind. With an
        Idempotency-Key, a room that lives for an earlier request of the same is given again. Raises
        `AssistantNotFound`, `TextOnlyUnsupported`, `InvalidMetadata`, `IdempotencyConflict` and
        `TooManyCalls` for what the caller can fix, and `BackendError`, `TemplateError`, `LiveKitError` for
        what the operator has to.
        """
        check_metadata_names(caller, request.metadata)
        assistant = self._assistants.find(request.assistant_id, caller)
        if request.text_only and assistant.mode == "realtime":
            raise TextOnlyUnsupported
        definition = filled_definition(assistant, request.metadata, text_only=request.text_only)
        for candidate in self._candidates(caller, request, visit):
            try:
                with (
                    self._lease(candidate, caller, request, visit) as lease,
                    self._written(candidate, caller, request) as entry,
                ):
                    placed = self._take(candidate, assistant, definition, request)
                    entry.keep(repeated=placed.repeated)
                    lease.keep()
            except NameTaken:
                continue
            return placed
        if visit.idempotency_key is not None:
            raise TooManyCalls(LEEWAY_S, _ALL_WAIT)
        raise LiveKitError("answer", f"{_DRAWS} names in a row belonged to living rooms")

    def _candidates(self, caller: Caller, request: CallRequest, visit: Visit) -> Iterable[Candidate]:
        if visit.idempotency_key is None:
            return (random_candidate(request.assistant_id) for _ in range(_DRAWS))
        derived = [
            derived_candidates(
                api_secret=api_secret,
                counted_as=caller.counted_as,
                assistant_id=request.assistant_id,
                header=visit.idempotency_key,
                body=request.body,
            )
            for api_secret in self._config.livekit.secrets
        ]
        return self._rooms.in_order(derived[0], before=[one for others in derived[1:] for one in others])

    def _lease(
        self, candidate: Candidate, caller: Caller, request: CallRequest, visit: Visit
    ) -> AbstractContextManager[Lease]:
        """Hold a place of the key and of the address; without a room it is given back."""
        if self._leases is None:
            return nullcontext(Lease())
        return self._leases.held(candidate.room_name, caller, visit.address, waits_s=self._waits_s(request))

    def _written(
        self, candidate: Candidate, caller: Caller, request: CallRequest
    ) -> AbstractContextManager[Written]:
        """Hold what is known of the call, for its end; without a room it is forgotten."""
        if self._ledger is None:
            return nullcontext(Written())
        entry = Entry(
            candidate.room_name,
            request.assistant_id,
            caller.email,
            caller.key_id,
            request.text_only,
            time.time(),
        )
        return self._ledger.written(entry, waits_s=self._waits_s(request))

    def _waits_s(self, request: CallRequest) -> float:
        return self._join_s(request) + LEEWAY_S

    def _take(
        self,
        candidate: Candidate,
        assistant: Assistant,
        definition: Mapping[str, Any],
        request: CallRequest,
    ) -> PlacedCall:
        """Make the candidate's room, or join the one that is there for this request; else `NameTaken`."""
        name, join_window = candidate.room_name, timedelta(seconds=self._join_s(request))
        dispatch = self._dispatch(name, assistant, definition, request)
        token = self._token(candidate, request, join_window)
        earlier = self._rooms.create(
            candidate,
            expires_at=token.expires_at,
            join_window=join_window,
            agent_name=assistant.agent_name or self._config.livekit.agent_name,
            dispatch_metadata=dispatch,
        )
        if earlier is not None and not earlier.entered:
            # The room closes with nobody in it soon after the first token's end: no later one may do.
            token = self._token(candidate, request, earlier.expires_at)
        elif abs(self._rooms.now() + join_window - token.expires_at) > _CLOCKS_AGREE:
            # By LiveKit's answer its clock is far off: by it, the token has ended, or has not begun.
            token = self._token(candidate, request, join_window)
        server_url = self._config.livekit.server_url
        return PlacedCall(name, token.jwt, server_url, token.expires_at, repeated=earlier is not None)

    def _join_s(self, request: CallRequest) -> int:
        configured = self._config.call.join_window_s
        return min(configured, request.longest_join_s or configured)

    def _token(self, candidate: Candidate, request: CallRequest, until: datetime | timedelta) -> Token:
        now = self._rooms.now()
        return mint(
            api_key=self._config.livekit.api_key,
            api_secret=self._config.livekit.api_secret,
            room=candidate.room_name,
            identity=candidate.identity,
            text_only=request.text_only,
            ttl=until if isinstance(until, timedelta) else until - now,
            now=now,
            participant=request.participant,
        )

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
