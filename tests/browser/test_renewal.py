"""The playground comes back into a call with a token that has expired."""

from __future__ import annotations

import json
from datetime import timedelta

from tests.support.browser import Visitor, participants, token_for
from tests.support.livekit import LiveKitServer


def test_a_call_is_joined_again_with_a_fresh_token(visitor: Visitor, livekit_server: LiveKitServer) -> None:
    """With a token that is too old, the page gets one for the same room, and no second assistant comes."""
    visitor.call(text_only=True)
    visitor.until_said(r"\bAda\b")
    room = visitor.room
    kept = json.loads(visitor.page.evaluate("() => sessionStorage['webcall.call']"))
    kept["token"] = token_for(livekit_server, room, age=timedelta(hours=1))
    visitor.page.evaluate("(kept) => { sessionStorage['webcall.call'] = kept; }", json.dumps(kept))
    visitor.page.reload()
    visitor.until_state("joined")
    assert visitor.room == room
    visitor.type("what is seven plus eight")
    visitor.until_said(r"\b15\b")
    assert len(participants(livekit_server, room)) == 2
    visitor.forgive("WebSocket connection to ", "Failed to load resource: ")
