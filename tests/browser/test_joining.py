"""How a call is joined, left, and joined again."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from livekit import api

from tests.browser.conftest import MakeVisitor
from tests.support.browser import Visitor, ask, participants
from tests.support.deployment import OWNER, ROOT, Service
from tests.support.livekit import LiveKitServer

COUNT_MICROPHONES = """
globalThis.asked = 0;
const original = MediaDevices.prototype.getUserMedia;
MediaDevices.prototype.getUserMedia = function (...wanted) {
  globalThis.asked += 1;
  return original.apply(this, wanted);
};"""


@pytest.mark.parametrize("text_only", [True, False])
def test_a_typed_chat_has_no_sound(
    visitor: Visitor, livekit_server: LiveKitServer, *, text_only: bool
) -> None:
    """With text only no microphone is asked for and neither side publishes a track; with sound both do."""
    visitor.page.add_init_script(COUNT_MICROPHONES)
    visitor.call(text_only=text_only)
    visitor.until_said(r"\bAda\b")
    visitor.type("what is seven plus eight")
    visitor.until_said(r"\b15\b")
    there = participants(livekit_server, visitor.room)
    assert sorted(int(one.kind) for one in there) == [0, 4], "a person and an agent"
    assert [len(one.tracks) for one in there] == ([0, 0] if text_only else [1, 1])
    assert visitor.page.evaluate("() => globalThis.asked") == (0 if text_only else 1)
    for part in ("#mute", "#microphone-part", "#meters"):
        assert visitor.page.locator(part).is_visible() is not text_only


def test_a_reload_joins_the_same_call(visitor: Visitor, livekit_server: LiveKitServer) -> None:
    """A page that is loaded again is back in its room with the same assistant, which does not greet again."""
    visitor.call()
    visitor.until_said(r"\bAda\b")
    room, before = visitor.room, participants(livekit_server, visitor.room)
    visitor.page.reload()
    visitor.until_state("joined")
    assert visitor.room == room
    visitor.type("what is seven plus eight")
    visitor.until_said(r"\b15\b")
    assert visitor.loudest() > 0.05
    after = participants(livekit_server, room)
    assert {one.identity for one in after} == {one.identity for one in before}
    assert not any("Ada" in words for words in visitor.words())


def test_hanging_up_closes_the_room(visitor: Visitor, livekit_server: LiveKitServer) -> None:
    """Who hangs up is told so, and the room is gone within a second, though nothing was published in it."""
    visitor.call(text_only=True)
    visitor.until_said(r"\bAda\b")
    room = visitor.room
    visitor.page.click("#hangup")
    end = time.monotonic() + 1
    assert visitor.notice("hung_up", 1) == "You hung up."

    def gone() -> bool:
        names = api.ListRoomsRequest(names=[room])
        return not ask(livekit_server, lambda client: client.room.list_rooms(names)).rooms

    while not gone():
        assert time.monotonic() < end
    visitor.page.reload()
    visitor.until_state("idle")


def test_the_assistant_may_end_the_call(visitor: Visitor) -> None:
    """After a goodbye the call ends with the words of the service, and a new one can be started."""
    visitor.call(text_only=True)
    visitor.type("goodbye")
    assert visitor.notice("ended", 10) == "The assistant has ended the call."
    assert [entry["code"] for entry in visitor.entries() if entry["from"] == "service"] == ["goodbye"]
    visitor.page.click("#start")
    visitor.until_said(r"\bAda\b")


def test_the_link_of_the_command_opens_the_call(
    visitor: Visitor, visitor_of: MakeVisitor, playground: Service
) -> None:
    """What `flask webcall call` prints joins the call that it placed; opened elsewhere, it moves there."""
    bind = {"WEBCALL_BIND": f"127.0.0.1:{playground.port}"}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "call", "helper", "--owner", OWNER]
    placed = subprocess.run(
        [*command, "--metadata", "customer.name=Grace", "--text-only"],
        cwd=ROOT,
        env={**os.environ, "WEBCALL_CONFIG": str(ROOT / "config.yaml"), **playground.environment, **bind},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = dict(line.split(": ", 1) for line in placed.stdout.splitlines())
    link = told["playground_url"]
    visitor.open(link)
    visitor.until_said(r"\bGrace\b")
    assert visitor.room == told["room_name"]
    assert "#" not in visitor.page.url, "the token does not stay in the address"

    other = visitor_of(playground)
    other.open(link)
    other.until_state("joined")
    assert "another tab" in visitor.notice("joined_elsewhere", 5)
    other.type("what is seven plus eight")
    other.until_said(r"\b15\b")
