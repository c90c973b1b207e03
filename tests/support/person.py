"""A person in a room, as a Python participant: types, speaks, and keeps all that comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from livekit import rtc

from tests.support.calls import PlacedCall
from webcall.worker.demo import espeak
from webcall.worker.demo.tts import synthesize
from webcall.worker.rtc_events import keep_all_events

# The tests' process keeps more garbage of the SDK's than any other.
keep_all_events()

TRANSCRIPTION, CHAT, NOTICE = "lk.transcription", "lk.chat", "webcall.notice"


@dataclass
class Said:
    """One text stream: who sent it on which topic, what it says so far, and whether it has ended."""

    topic: str
    sender: str
    attributes: dict[str, str]
    began_at: float
    text: str = ""
    ended: bool = False


@dataclass
class Person:
    """Joined to a room; everything that arrives is kept in the order in which it came."""

    room: rtc.Room
    said: list[Said] = field(default_factory=list)
    packets: list[rtc.DataPacket] = field(default_factory=list)
    heard_frames: int = 0
    loud_frames: int = 0
    first_sound_at: float | None = None
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    disconnect_reason: Any = None
    _microphone: rtc.AudioSource | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def identity(self) -> str:
        """What the person is called in the room."""
        return self.room.local_participant.identity

    @property
    def assistants(self) -> list[rtc.RemoteParticipant]:
        """The participants of kind agent that are in the room now."""
        return [
            one
            for one in self.room.remote_participants.values()
            if one.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        ]

    def replies(self) -> list[Said]:
        """Return the assistant's texts so far, with what is known of them."""
        return [one for one in self.said if one.topic == TRANSCRIPTION and one.sender != self.identity]

    def words(self, topic: str = TRANSCRIPTION) -> list[str]:
        """Return the assistant's texts on a topic so far, finished or not."""
        return [one.text for one in self.said if one.topic == topic and one.sender != self.identity]

    def said_by_service(self) -> list[Said]:
        """Return the notices so far."""
        return [one for one in self.said if one.topic == NOTICE]

    def notices(self) -> list[str]:
        """Return the codes of the notices so far."""
        return [one.attributes.get("code", "") for one in self.said_by_service()]

    def heard_as(self) -> list[str]:
        """Return what the assistant's ears made of this person's finished speech."""
        return [
            one.text
            for one in self.said
            if one.topic == TRANSCRIPTION and one.sender == self.identity and one.ended
        ]

    async def until(self, what: Callable[[], Any], within_s: float = 20) -> Any:
        """Wait until `what` gives something true, looking whenever something has come; return it."""
        deadline = time.monotonic() + within_s
        while not (found := what()):
            self._changed.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {within_s} s; so far: {[vars(one) for one in self.said]}")
            # Sound and participants change without a stream, so it looks now and then as well.
            try:
                await asyncio.wait_for(self._changed.wait(), min(left, 0.1))
            except TimeoutError:
                continue
        return found

    async def until_assistant(self, within_s: float = 20) -> rtc.RemoteParticipant:
        """Wait for an assistant and return it."""
        found: list[rtc.RemoteParticipant] = await self.until(lambda: self.assistants, within_s)
        return found[0]

    async def type(self, text: str, topic: str = CHAT) -> None:
        """Type a message."""
        await self.room.local_participant.send_text(text, topic=topic)

    async def reply_to(self, text: str, within_s: float = 20) -> str:
        """Type a message and return the assistant's whole next text."""
        before = len(self.words())
        await self.type(text)

        def finished() -> str:
            new = [one for one in self.said if one.topic == TRANSCRIPTION and one.sender != self.identity][
                before:
            ]
            return next((one.text for one in new if one.ended and one.text), "")

        reply: str = await self.until(finished, within_s)
        return reply

    async def open_microphone(self, rate: int = espeak.SAMPLE_RATE) -> rtc.AudioSource:
        """Publish the microphone, once, and wait until somebody listens. Return what takes the sound."""
        if self._microphone is None:
            self._microphone = rtc.AudioSource(rate, 1)
            track = rtc.LocalAudioTrack.create_audio_track("microphone", self._microphone)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            publication = await self.room.local_participant.publish_track(track, options)
            await publication.wait_for_subscription()
        return self._microphone

    async def speak(self, words: str, *, then_silence_s: float = 1.0) -> None:
        """Say a text with the demo's voice into the microphone, in real time."""
        sound = await asyncio.to_thread(synthesize, words)
        rate = espeak.SAMPLE_RATE
        source = await self.open_microphone()
        sound = bytes(rate) + sound + bytes(2 * int(rate * then_silence_s))
        samples = rate // 50
        for start in range(0, len(sound) - 2 * samples + 1, 2 * samples):
            chunk = sound[start : start + 2 * samples]
            await source.capture_frame(rtc.AudioFrame(chunk, rate, 1, samples))
        await source.wait_for_playout()

    async def ask_aloud(self, words: str, answer: str, within_s: float = 20) -> str:
        """Say a text and return the assistant's first new words that hold `answer`."""
        before = len(self.words())
        await self.speak(words)
        found: str = await self.until(
            lambda: next((one for one in self.words()[before:] if answer in one), ""), within_s
        )
        return found

    async def until_closed(self, within_s: float = 20) -> Any:
        """Wait until the room has put this person out; return LiveKit's reason."""
        await asyncio.wait_for(self.disconnected.wait(), within_s)
        return self.disconnect_reason

    def note(self) -> None:
        """Tell whoever waits that something has changed."""
        self._changed.set()

    def follow(self, room: rtc.Room) -> None:
        """Keep what comes on the topics that are known, packets, and sound."""
        for topic in (TRANSCRIPTION, CHAT, NOTICE):
            room.register_text_stream_handler(topic, self._stream(topic))
        room.on("data_received", self._packet)
        room.on("track_subscribed", self._track)
        room.on("disconnected", self._gone)
        for event in ("participant_connected", "participant_disconnected", "participant_attributes_changed"):
            room.on(event, lambda *_: self.note())

    def _stream(self, topic: str) -> Callable[[rtc.TextStreamReader, str], None]:
        def on_stream(reader: rtc.TextStreamReader, sender: str) -> None:
            said = Said(topic, sender, dict(reader.info.attributes or {}), time.monotonic())
            self.said.append(said)
            self._run(self._read(reader, said))

        return on_stream

    async def _read(self, reader: rtc.TextStreamReader, said: Said) -> None:
        try:
            async for part in reader:
                said.text += part
                self.note()
        except rtc.StreamError:
            # The room has closed in the middle.
            return
        said.attributes = dict(reader.info.attributes or {})
        said.ended = True
        self.note()

    def _packet(self, packet: rtc.DataPacket) -> None:
        self.packets.append(packet)
        self.note()

    def _track(self, track: rtc.Track, *_: object) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._run(self._listen(track))

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track)
        async for event in stream:
            self.heard_frames += 1
            if max(abs(sample) for sample in event.frame.data) > 500:
                self.loud_frames += 1
                self.first_sound_at = self.first_sound_at or time.monotonic()
        await stream.aclose()

    def _gone(self, reason: Any) -> None:
        self.disconnect_reason = reason
        self.disconnected.set()
        self.note()

    def _run(self, doing: Any) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def leave(self) -> None:
        """Hang up."""
        await self.room.disconnect()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def joined(call: PlacedCall, **options: Any) -> AsyncIterator[Person]:
    """Join a call as its person, and hang up at the end."""
    room = rtc.Room()
    person = Person(room)
    person.follow(room)
    await room.connect(call.server_url, call.token, rtc.RoomOptions(**options))
    try:
        yield person
    finally:
        await person.leave()
