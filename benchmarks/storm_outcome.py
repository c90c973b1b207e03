"""What came of a storm (`benchmarks.watch_storm`), and the stories of rooms that ended as they should not."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livekit import api, rtc

from tests.support.person import Person
from webcall.core.notices import TOPIC

# Of LiveKit's lines about a room these tell something, beside the time and the words.
_TELLING = ("participant", "reason", "event", "error", "jobID", "workerID", "status", "sessionDuration")


@dataclass
class Outcome:
    """What came of the people. `alone_s`: of each one that was, for how long they had no living assistant.

    `stories` are those of the rooms that ended otherwise than with one assistant, in lines.
    """

    people: int = 0
    with_one: int = 0
    with_none: int = 0
    with_more: int = 0
    sent_again: int = 0
    killed: int = 0
    watchers_killed: int = 0
    doubled_at_some_time: int = 0
    alone_s: list[float] = field(default_factory=list)
    seconds: float = 0.0
    stories: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether everybody ended with exactly one assistant."""
        return self.people > 0 and self.with_one == self.people

    def lines(self) -> list[str]:
        """Return it in words."""
        alone = sorted(self.alone_s)
        times = (
            f"median {statistics.median(alone):.1f} s, longest {alone[-1]:.1f} s" if alone else "nobody ever"
        )
        return [
            f"people                          {self.people}",
            f"ended with exactly one          {self.with_one}",
            f"ended with none                 {self.with_none}",
            f"ended with several              {self.with_more}",
            f"assistants sent again           {self.sent_again}",
            f"workers killed                  {self.killed}",
            f"watchers killed                 {self.watchers_killed}",
            f"rooms with two for a moment     {self.doubled_at_some_time}",
            f"without an assistant            {len(alone)}: {times}",
            f"took                            {self.seconds:.0f} s",
            *self.stories,
        ]


async def story(livekit: api.LiveKitAPI, room: str, person: Person, folder: Path) -> list[str]:
    """Return in lines what became of a room: what the person, LiveKit, and the logs in `folder` say of it."""
    try:
        listed = await _listed(livekit, room)
    except api.ServerError as error:
        listed = f"LiveKit does not tell: {error.message}"
    return [f"{room}: {_of_person(person)}", listed, *sorted(_of_logs(room, folder))]


def _of_person(person: Person) -> str:
    reason = person.disconnect_reason
    gone = f"put out: {rtc.DisconnectReason.Name(reason)}" if person.disconnected.is_set() else "connected"
    told = [packet.data.decode(errors="replace") for packet in person.packets if packet.topic == TOPIC]
    return f"{person.identity} is {gone}, sees {[one.identity for one in person.assistants]}, was told {told}"


async def _listed(livekit: api.LiveKitAPI, room: str) -> str:
    if not (await livekit.room.list_rooms(api.ListRoomsRequest(names=[room]))).rooms:
        return "LiveKit has closed the room"
    there = (await livekit.room.list_participants(api.ListParticipantsRequest(room=room))).participants
    present = [f"{one.identity} {api.ParticipantInfo.State.Name(one.state)}" for one in there]
    sent = [
        [job.state.participant_identity for job in dispatch.state.jobs]
        for dispatch in await livekit.agent_dispatch.list_dispatch(room)
    ]
    return f"LiveKit lists {present}; taken of its dispatches: {sent}"


def _of_logs(room: str, folder: Path) -> Iterator[str]:
    for log in folder.rglob("*.log"):
        for line in log.read_text("utf-8", "replace").splitlines():
            # Whoever asks who is there asks several times a second.
            if room in line and "RoomService.ListParticipants" not in line:
                yield f"{_shortened(line)} ({log.stem})"


def _shortened(line: str) -> str:
    """Return a log's line with its time first, and of LiveKit's long ones what tells something."""
    time, _, rest = line.partition("\t")
    brace = rest.find("{")
    try:
        if line.startswith("{"):
            of_watcher: dict[str, Any] = json.loads(line)
            return f"{of_watcher.pop('timestamp')[:23]}Z {of_watcher}"
        of_livekit: dict[str, Any] = json.loads(rest[brace:]) if brace >= 0 else {}
    except ValueError:
        # Whoever wrote it was killed in the middle.
        return line
    if not of_livekit:
        return line
    told = {name: of_livekit[name] for name in _TELLING if name in of_livekit}
    return f"{time} {' '.join(rest[:brace].split()[3:])} {told}"
