"""LiveKit's events: what is not signed by it, and what is signed and says something odd."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import webhooks
from tests.support.fuzzing import fuzzed
from webcall.config.settings import LiveKitConfig
from webcall.core.room_events import RoomEvent, RoomEvents
from webcall.errors import Unauthorized

KEY, SECRET = "key", "s" * 32
CONFIG = LiveKitConfig("ws://127.0.0.1:7880", "", KEY, SECRET, "agent", 5.0)


def received(body: bytes, signature: str) -> list[RoomEvent]:
    """Return what listeners are told of a request. Raises as `RoomEvents.receive` does."""
    told: list[RoomEvent] = []
    events = RoomEvents(CONFIG)
    events.subscribe(told.append)
    events.receive(body, signature)
    return told


def claims(body: bytes, **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return {"iss": KEY, "nbf": now - 5, "exp": now + 300, "sha256": digest} | changed


def token(told: Any, secret: str, head: dict[str, Any]) -> str:
    """Return a token of HS256 with any claims and any header in it."""
    parts = [{"alg": "HS256", "typ": "JWT"} | head, told]
    signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64(hmac.digest(secret.encode(), signed.encode(), 'sha256'))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


ODD = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
FORGERIES = st.one_of(
    st.text(max_size=40),
    st.text(max_size=10).map(lambda text: f"Bearer {text}"),
    st.builds(
        lambda changed, secret, head: token(claims(b"{}", **changed), secret, head),
        st.dictionaries(st.sampled_from(["iss", "nbf", "exp", "sha256", "video"]), ODD, max_size=2),
        st.sampled_from(["t" * 32, "S" * 32, "s" * 33]),
        st.dictionaries(
            st.sampled_from(["alg", "kid", "crit", "b64"]), ODD | st.sampled_from(["none", "RS256"])
        ),
    ),
    # Well signed, and without what an event has to say.
    st.builds(
        lambda gone, changed: token({**claims(b"{}"), **dict.fromkeys(gone), **changed}, SECRET, {}),
        st.lists(st.sampled_from(["iss", "sha256"]), min_size=1, max_size=2),
        st.dictionaries(st.sampled_from(["iss", "sha256"]), ODD, min_size=1),
    ),
    st.text(max_size=5).map(lambda text: token(text, SECRET, {})),
    st.just(token(claims(b"{}"), "", {"alg": "none"}).rpartition(".")[0] + "."),
    st.just(token(claims(b"{}", exp=1), SECRET, {})),
    st.just(token(claims(b"[]"), SECRET, {})),
)


@fuzzed
@given(FORGERIES)
@example("")
@example("a.b.c")
def test_what_livekit_has_not_signed_is_refused(signature: str) -> None:
    """No other secret, algorithm, issuer, time or body passes, and no text that is no token at all."""
    with pytest.raises(Unauthorized):
        received(b"{}", signature)


@fuzzed
@given(st.integers(0, 10_000), st.integers(1, 255), st.booleans())
def test_a_byte_changed_is_no_longer_signed(at: int, by: int, in_body: bool) -> None:
    """Whichever byte of a signed event is changed, in its body or its token, nobody is told of it."""
    body, signature = webhooks.signed(webhooks.event("room_finished", "a_12345678"), KEY, SECRET)
    changed = bytearray(body if in_body else signature.encode())
    changed[at % len(changed)] ^= by
    try:
        sent = (bytes(changed), signature) if in_body else (body, changed.decode("latin-1"))
        told = received(*sent)
    except Unauthorized:
        return
    # The last character of Base64 holds bits that mean nothing: the same signature in another spelling.
    assert not in_body
    assert at % len(changed) in (len(changed) - 1, *(n - 1 for n, c in enumerate(signature) if c == "."))
    assert len(told) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.dictionaries(
    st.sampled_from(["event", "room", "participant", "id", "createdAt", "created_at", "track", "tomorrow"]),
    VALUES
    | st.sampled_from([str(int(time.time())), int(time.time()), "99999999999999999999"])
    | st.dictionaries(
        st.sampled_from(["name", "sid", "identity", "kind", "creationTimeMs", "disconnectReason"]),
        VALUES | st.sampled_from([2**31 - 1, "AGENT", "-5"]),
        max_size=4,
    ),
    max_size=5,
)
BODIES = EVENTS.map(lambda told: json.dumps(told).encode()) | st.binary(max_size=20)


@fuzzed
@given(BODIES)
@example(b'{"room": {"name": "a"}, "createdAt": "-9223372036854775808"}')
@example(b"[" * 5000)
@example(b'{"event": "participant_left", "participant": {"disconnectReason": 2147483647}, "createdAt": NaN}')
def test_what_livekit_has_signed_is_followed_or_ignored(body: bytes) -> None:
    """Whatever a later LiveKit may send: an event, nothing, or a 401 for what is no text; never a defect."""
    signature = webhooks.sign(body, KEY, SECRET)
    try:
        told = received(body, signature)
    except Unauthorized:
        with pytest.raises(UnicodeDecodeError):
            body.decode()
        return
    for event in told:
        assert event.room
        assert isinstance(event.reason, str)
