"""Who is in the room: the one human, and assistants that somebody else sent.

livekit-server tells of participants who publish nothing (typed chat, or a microphone that is still
off) every three seconds only, of their coming as of their leaving (`subscriberUpdateInterval` in its
pkg/rtc/room.go). Hence the two detours here: whoever has joined is looked for with the server's API,
and a client may say that it hangs up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog
from livekit import api, rtc

from webcall.core.participants import is_assistant, is_person

log = structlog.stdlib.get_logger("webcall.worker.attendance")

# How a client leaves on purpose, and how the server puts one out; all else may come back.
_FOR_GOOD = (
    rtc.DisconnectReason.CLIENT_INITIATED,
    rtc.DisconnectReason.PARTICIPANT_REMOVED,
    rtc.DisconnectReason.USER_REJECTED,
)
# The topic on which a client says that its person hangs up, a moment before it does.
BYE = "webcall.bye"
# How often the server is asked for the human, and from which second on: most come at once.
_LOOKS = ((0.0, 0.25), (5.0, 0.5), (15.0, 1.0))
# As often, while this participant is on its way into the room itself, which takes a fraction of a second; and
# for how long in all. Who comes later is not waited for so closely: many who ask for a token never come.
_EARLY_LOOKS = ((0.0, 0.05), (1.0, 0.25))
_EARLY_S = 5.0
# For a question that decides how the call goes on; livekit-api's own time-outs have no effect.
ASKING_S = 3.0
# The server has taken their token and answered; the connection for sound may be on its way.
_LET_IN = (api.ParticipantInfo.State.JOINED, api.ParticipantInfo.State.ACTIVE)
_SEEN = {"webcall.seen": "true"}


class Attendance:
    """Watches one room. The callbacks run on the event loop and must not block.

    `hung_up` is called when the human left for good, `dropped` when the connection went away, and
    `returned` when the same human is back; `joined_by_another` when one more assistant has come. A human is
    whoever came first; the room admits one.
    """

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._came = asyncio.Event()
        self._marked: set[str] = set()
        self._marking: asyncio.Task[None] | None = None
        self.human: rtc.RemoteParticipant | None = None
        self.hung_up: Callable[[], None] = _ignore
        self.dropped: Callable[[], None] = _ignore
        self.returned: Callable[[], None] = _ignore
        self.joined_by_another: Callable[[], None] = _ignore
        room.on("participant_connected", self._connected)
        room.on("participant_disconnected", self._disconnected)
        room.register_text_stream_handler(BYE, self._bye)

    @property
    def present(self) -> bool:
        """Whether the human is in the room now."""
        return self.human is not None and self.human.identity in self._room.remote_participants

    async def is_back(self, livekit: api.LiveKitAPI) -> bool:
        """Return whether the human is in the room again, of which the server may tell seconds later."""
        found: Sequence[api.ParticipantInfo] = ()
        try:
            asked = api.ListParticipantsRequest(room=self._room.name)
            found = (await asyncio.wait_for(livekit.room.list_participants(asked), ASKING_S)).participants
        except Exception as error:
            log.warning("not looked for the human", error=type(error).__name__)
        let_in = {one.identity for one in found if one.state in _LET_IN}
        return self.present or (self.human is not None and self.human.identity in let_in)

    def may_be_human(self, identity: str) -> bool:
        """Return whether it is the human's identity, or could be while the server has told of nobody."""
        if self.human is not None:
            return identity == self.human.identity
        participant = self._room.remote_participants.get(identity)
        return participant is None or is_person(participant.kind)

    async def expected(self, livekit: api.LiveKitAPI, me: str) -> bool:
        """Wait until the server has let the human in, while the participant `me` is on its way in itself.

        Return False if nobody comes in the first seconds, another assistant is there already, or the server
        does not answer.
        """
        began = time.monotonic()
        while (waited_s := time.monotonic() - began) < _EARLY_S:
            try:
                answer = await livekit.room.list_participants(
                    api.ListParticipantsRequest(room=self._room.name)
                )
            except Exception as error:
                log.warning("not looked for the human", error=type(error).__name__)
                return False
            others = [one for one in answer.participants if one.identity != me]
            if any(is_assistant(one.kind, one.attributes) for one in others):
                return False
            if any(is_person(one.kind) and one.state in _LET_IN for one in others):
                return True
            await asyncio.sleep(_pause_s(_EARLY_LOOKS, waited_s))
        return False

    async def wait_for_human(self, livekit: api.LiveKitAPI, within_s: float) -> rtc.RemoteParticipant | None:
        """Return the human as soon as there is one, or None if nobody came in time."""
        for participant in self._room.remote_participants.values():
            self._connected(participant)
        hastening = asyncio.create_task(self._hasten(livekit))
        try:
            await asyncio.wait_for(self._came.wait(), within_s)
        except TimeoutError:
            return None
        finally:
            hastening.cancel()
        if self.human is not None:
            self._marking = asyncio.create_task(self._mark(livekit, self.human.identity))
        return self.human

    async def _hasten(self, livekit: api.LiveKitAPI) -> None:
        """Look for the human at the server, and have it tell of them at once."""
        began = time.monotonic()
        while not self._came.is_set():
            waited_s = time.monotonic() - began
            await asyncio.sleep(_pause_s(_LOOKS, waited_s))
            try:
                answer = await livekit.room.list_participants(
                    api.ListParticipantsRequest(room=self._room.name)
                )
                for one in answer.participants:
                    if is_person(one.kind) and one.state == api.ParticipantInfo.State.ACTIVE:
                        await self._mark(livekit, one.identity)
                        return
            except Exception as error:
                # The server tells of them by itself, later.
                log.warning("not looked for the human", error=type(error).__name__)

    async def _mark(self, livekit: api.LiveKitAPI, identity: str) -> None:
        """Set an attribute on the human, once.

        It makes the server tell everybody of them at once, and give them a new token: theirs is good
        for a minute or two, and the server's own renewal comes after five, so that a page that is
        loaded again in between could not come back.
        """
        if identity in self._marked:
            return
        self._marked.add(identity)
        try:
            await livekit.room.update_participant(
                api.UpdateParticipantRequest(room=self._room.name, identity=identity, attributes=_SEEN)
            )
        except Exception as error:
            self._marked.discard(identity)
            log.warning("human not marked", error=type(error).__name__)

    async def earlier_assistant(self, livekit: api.LiveKitAPI, *, untold: bool) -> bool:
        """Return whether another assistant was in the room before this one.

        Two that enter at the same moment see each other: the server's own order decides which stays. Return
        `untold` where there are two and the server does not tell.
        """
        if not any(_is_assistant(other) for other in self._room.remote_participants.values()):
            return False
        me = self._room.local_participant.identity
        asked = api.ListParticipantsRequest(room=self._room.name)
        try:
            answer = await asyncio.wait_for(livekit.room.list_participants(asked), ASKING_S)
        except Exception as error:
            log.warning("not looked for other assistants", error=type(error).__name__)
            return untold
        order = {
            one.identity: (one.joined_at_ms or one.joined_at * 1000, one.identity)
            for one in answer.participants
            if is_assistant(one.kind, one.attributes)
        }
        return me not in order or min(order.values()) != order[me]

    def _connected(self, participant: rtc.RemoteParticipant) -> None:
        if not is_person(participant.kind):
            if _is_assistant(participant):
                self.joined_by_another()
            return
        if self.human is None:
            self.human = participant
            self._came.set()
        elif participant.identity == self.human.identity:
            self.human = participant
            self.returned()

    def _disconnected(self, participant: rtc.RemoteParticipant) -> None:
        if self.human is None or participant.identity != self.human.identity:
            return
        if participant.disconnect_reason in _FOR_GOOD:
            self.hung_up()
        elif not self.present:
            self.dropped()

    def _bye(self, reader: rtc.TextStreamReader, identity: str) -> None:
        reader.close()
        if self.human is not None and identity == self.human.identity:
            self.hung_up()


def _is_assistant(participant: rtc.RemoteParticipant) -> bool:
    return is_assistant(participant.kind, participant.attributes)


def _ignore() -> None:
    return


def _pause_s(looks: Sequence[tuple[float, float]], waited_s: float) -> float:
    return next(every for since, every in reversed(looks) if waited_s >= since)
