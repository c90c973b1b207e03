"""What LiveKit tells about rooms: its signed events, checked, and handed to whoever wants them.

Events are hints. LiveKit drops those that it could not deliver for half a minute, sends an event again
whose delivery failed, and does not keep the order of different rooms.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from google.protobuf.json_format import ParseError
from livekit import api
from livekit.protocol.models import DisconnectReason, ParticipantInfo
from livekit.protocol.webhook import WebhookEvent

from webcall.config.settings import LiveKitConfig
from webcall.core.participants import is_assistant, is_person, took_part
from webcall.errors import BackendError, Unauthorized
from webcall.logs import describe

log = structlog.stdlib.get_logger("webcall.room_events")

# LiveKit's own tokens for events live as long.
STALE_S = 300
_LEEWAY = timedelta(minutes=1)
_MOST_REMEMBERED = 10_000
# How long a repeated event waits for the first one of it, which waits for a storage at most.
_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """An event of LiveKit about a room.

    `kind` is LiveKit's name of it (https://docs.livekit.io/home/server/webhooks/), `room_age_s` how old
    the room was then, by LiveKit's clock alone, which may be far off any other, and `sid` LiveKit's own id
    of the room, which no later room of the name has. `of_person` and `of_assistant` tell a person and an
    assistant from LiveKit's own recorders, and each other; both are False for what is about the room alone.
    `reason` is why a participant left, LiveKit's name of it (`CLIENT_INITIATED`); else empty.
    `at` is when it happened, by LiveKit's clock and to the second, and `joined_at` when the participant
    came, both in seconds since 1970; `attributes` are the participant's own, and `took_part` tells whether an
    assistant had shown itself at work by then.
    """

    kind: str
    room: str
    room_age_s: float | None = None
    identity: str = ""
    of_person: bool = False
    of_assistant: bool = False
    sid: str = ""
    reason: str = ""
    at: float = 0.0
    joined_at: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)
    took_part: bool = False


Listener = Callable[[RoomEvent], None]


class RoomEvents:
    """Takes what comes to the webhook, and tells the listeners."""

    def __init__(self, config: LiveKitConfig, clock: Callable[[], float] = time.time) -> None:
        """Take the pair of key and secret that events are signed with.

        `clock` gives seconds since 1970, by LiveKit's clock where that is known: the times of events and of
        their signatures are judged by it.

        While the secret is changed, LiveKit may sign with the previous one still.
        """
        pairs = [(config.api_key, config.api_secret), (config.previous_api_key, config.previous_api_secret)]
        # An empty pair would be one from the environment.
        self._pairs = [pair for pair in pairs if all(pair)]
        self._clock = clock
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        # None for an event that has been followed; else what is set when it has been, or could not be.
        self._seen: OrderedDict[str, threading.Event | None] = OrderedDict()

    def subscribe(self, listener: Listener) -> None:
        """Tell `listener` every event from now on. It has to be quick."""
        self._listeners.append(listener)

    def check(self, signature: str) -> None:
        """Raise `Unauthorized` unless it is LiveKit's signature of an event, which need not be here yet."""
        for verifier in self._verifiers():
            with suppress(Exception):
                # A person's token to join with is LiveKit's, too, and is about no event.
                if verifier.verify(signature).sha256:
                    return
        raise Unauthorized

    def receive(self, body: bytes, signature: str) -> None:
        """Check a request to the webhook, and tell the listeners what it says.

        `signature` is LiveKit's token with the hash of the body. Raises `Unauthorized` if it is not
        good, and `BackendError` if a listener could not follow: then LiveKit sends the event again.
        Stale events, repeated ones, and those that are not about a room are ignored.
        """
        event = self._verified(body, signature)
        if event is None or abs(self._clock() - event.created_at) > STALE_S or not event.room.name:
            return
        if self._known(event.id):
            return
        done = self._tell(_room_event(event))
        self._settle(event.id, done)
        if not done:
            raise BackendError("an event of LiveKit could not be followed")

    def _verifiers(self) -> list[api.TokenVerifier]:
        # The library knows no clock but this machine's.
        leeway = _LEEWAY + timedelta(seconds=abs(self._clock() - time.time()))
        return [api.TokenVerifier(*pair, leeway=leeway) for pair in self._pairs]

    def _verified(self, body: bytes, signature: str) -> WebhookEvent | None:
        for verifier in self._verifiers():
            receiver = api.WebhookReceiver(verifier)
            # PyJWT's errors and bare ones; which of them it was helps those only who try.
            with suppress(Exception):
                try:
                    return receiver.receive(body.decode("utf-8"), signature)
                except ParseError:
                    # It is LiveKit's, whose later versions may say what this one does not understand.
                    return None
        raise Unauthorized

    def _known(self, event_id: str) -> bool:
        """Return whether the event has been followed; if not, it is the caller's to follow."""
        with self._lock:
            if event_id not in self._seen:
                self._seen[event_id] = threading.Event()
                if len(self._seen) > _MOST_REMEMBERED:
                    self._seen.popitem(last=False)
                return False
            following = self._seen[event_id]
        # Another thread is at it. Not before that is done may LiveKit send the room's next event.
        if following is not None and not (following.wait(_PATIENCE_S) and event_id in self._seen):
            raise BackendError("an event of LiveKit could not be followed")
        return True

    def _settle(self, event_id: str, done: bool) -> None:
        with self._lock:
            following = self._seen.get(event_id)
            if done and event_id in self._seen:
                self._seen[event_id] = None
            elif not done:
                self._seen.pop(event_id, None)
        if following is not None:
            following.set()

    def _tell(self, event: RoomEvent) -> bool:
        followed = True
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:
                followed = False
                if not isinstance(error, BackendError):
                    log.error("an event of LiveKit failed", kind=event.kind, **describe(error))
        return followed


def _room_event(event: WebhookEvent) -> RoomEvent:
    room, person = event.room, event.participant
    since = room.creation_time_ms / 1000 or float(room.creation_time) or None
    about_one = event.HasField("participant")
    return RoomEvent(
        kind=event.event,
        room=room.name,
        room_age_s=None if since is None else max(0.0, event.created_at - since),
        identity=person.identity if about_one else "",
        of_person=about_one and is_person(person.kind),
        of_assistant=about_one and is_assistant(person.kind, person.attributes),
        sid=room.sid,
        reason=_reason(person) if event.event == "participant_left" else "",
        at=float(event.created_at),
        joined_at=float(person.joined_at) or None,
        attributes=dict(person.attributes),
        took_part=took_part(person.is_publisher, person.attributes),
    )


def _reason(person: ParticipantInfo) -> str:
    try:
        return DisconnectReason.Name(person.disconnect_reason)
    except ValueError:
        # A later version's reason, which this one has no name for.
        return "UNKNOWN_REASON"
