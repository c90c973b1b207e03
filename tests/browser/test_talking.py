"""A person talks and types with the assistant."""

from __future__ import annotations

from pathlib import Path

from tests.browser.conftest import MakeVisitor
from tests.support.browser import Visitor, write_sound
from tests.support.deployment import Service
from webcall.worker.demo import espeak, tts


def test_the_greeting_is_heard(visitor: Visitor) -> None:
    """The assistant greets by the caller's metadata, in words and by voice, and a typed text is answered."""
    visitor.call()
    visitor.until_said(r"\bAda\b")
    assert visitor.loudest() > 0.05
    visitor.type("what is seven plus eight")
    visitor.until_said(r"\b15\b")


def test_speech_is_transcribed_and_answered(
    visitor_of: MakeVisitor, playground: Service, tmp_path: Path
) -> None:
    """What the microphone hears stands in the transcript as the person's, and is answered."""
    sound = write_sound(tmp_path / "asked.wav", [(3, "What time is it?")])
    visitor = visitor_of(playground, sound=sound)
    visitor.call("quiet")
    visitor.until_said("what time is it", "you")
    visitor.until_said(r"\d\d:\d\d UTC")
    [asked] = [entry for entry in visitor.entries() if entry["from"] == "you"]
    assert (asked["typed"], asked["final"]) == (False, True)


# What is said for "count to thirty".
LONG = ", ".join(map(str, range(1, 31)))


def test_typing_interrupts_what_is_being_said(visitor: Visitor) -> None:
    """A message typed while the assistant speaks is answered at once, and the rest is not said any more."""
    visitor.call()
    visitor.until_said(r"\bAda\b")
    visitor.type("count to thirty")
    visitor.until_said(r"\b30\b")
    visitor.until_assistant("speaking")
    assert visitor.loudest() > 0.05
    visitor.type("what is my name")
    visitor.until_said("Your name is Ada")
    assert visitor.timing("reply") < 2000
    spoken_s = len(tts.synthesize(LONG)) / 2 / espeak.SAMPLE_RATE
    assert spoken_s > 10
    visitor.until_assistant("listening", within_s=spoken_s - 3)


WORDS = (
    *("alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett"),
    *("kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango"),
)
EVERY_S = 3
SPOKEN_AT = (4, 13, 22, 31, 40, 49, 58)


def test_nothing_is_lost_where_both_are_done_at_once(
    visitor_of: MakeVisitor, playground: Service, tmp_path: Path
) -> None:
    """In a minute of speaking and typing at once, 20 typed messages are answered, and speech is too."""
    sound = write_sound(tmp_path / "minute.wav", [(at_s, "What time is it?") for at_s in SPOKEN_AT])
    visitor = visitor_of(playground, sound=sound)
    visitor.call("quiet")
    for word in WORDS:
        visitor.type(f"repeat after me: {word}")
        # The pace of a person who types; nothing is waited for.
        visitor.page.wait_for_timeout(1000 * EVERY_S)
    for word in WORDS:
        visitor.until_said(rf"^{word}")
    # Both interrupt: an answer that was not begun is given again to who typed, and to who spoke it is not.
    visitor.until_said(r"\d\d:\d\d UTC", count=len(SPOKEN_AT) - 2)
    spoken = [entry for entry in visitor.entries() if entry["from"] == "you" and not entry["typed"]]
    assert len(spoken) == len(SPOKEN_AT), spoken
