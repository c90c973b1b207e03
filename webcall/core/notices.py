"""Words for the person in the room, on the text topic `webcall.notice`.

Whatever stops a call or refuses a message is said there, in words that tell nothing of the inside:
no prompt, no metadata, no provider's own text. Clients show the text as it is; `code` and `ends` are
attributes of the stream. docs/writing-an-assistant.md holds the table. Whoever is not in the room, and
can send through LiveKit's API alone, sends all three as JSON in one data packet of the same topic.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

TOPIC = "webcall.notice"


class Notice(Enum):
    """One thing to say: the words, and whether the call ends with it. The name is the `code`."""

    message_too_long = ("That message is too long for this chat. Please send a shorter one.", False)
    too_many_messages = ("Too many messages at once. Please wait a moment and send it again.", False)
    message_unreadable = ("That message could not be read. Please send it again.", False)
    turns_used_up = ("This chat has reached its number of messages. Please start a new call.", False)
    bad_dispatch = (
        "This call was set up wrongly and cannot begin. Please tell whoever runs this service.",
        True,
    )
    model_unavailable = (
        "This assistant is not set up completely and cannot speak. Please tell whoever runs this service.",
        True,
    )
    provider_failed = (
        "The assistant has lost its connection to what it thinks or speaks with. Please call again later.",
        True,
    )
    assistant_failed = ("Something went wrong with the assistant. Please call again.", True)
    time_is_up = ("This call has reached its longest time and ends now.", True)
    goodbye = ("The assistant has ended the call.", True)
    shutting_down = ("The assistant has to stop for maintenance. Please call again.", True)

    no_assistant = ("No assistant could come to this call, and it ends now. Please call again later.", True)

    def __init__(self, words: str, ends: bool) -> None:
        self.words = words
        self.ends = ends


@dataclass(frozen=True, slots=True)
class Sent:
    """A notice as it goes out: the stream's text and attributes."""

    text: str
    attributes: Mapping[str, str]


def sent(notice: Notice) -> Sent:
    """Return what is sent for a notice."""
    return Sent(notice.words, {"code": notice.name, "ends": "true" if notice.ends else "false"})


def as_packet(notice: Notice) -> bytes:
    """Return what is sent for a notice by LiveKit's API, which sends packets only."""
    return json.dumps({"code": notice.name, "ends": notice.ends, "text": notice.words}).encode()
