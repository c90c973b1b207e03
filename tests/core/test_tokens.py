"""Tokens, tested by decoding them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
from hypothesis import given
from hypothesis import strategies as st
from livekit import api

from webcall.core.tokens import mint

SECRET = "s" * 40
IDENTITY = "caller-" + "0" * 32
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100)


@given(
    room=TEXT,
    text_only=st.booleans(),
    ttl=st.integers(1, 86_400),
    now=st.datetimes(datetime(2001, 1, 1), datetime(2090, 1, 1)),  # made aware below
)
def test_a_token_says_what_was_asked(room: str, text_only: bool, ttl: int, now: datetime) -> None:
    """For any room and time: this room alone, valid from now for the given time, and no right beside."""
    now = now.replace(tzinfo=UTC)
    identity = IDENTITY
    token = mint(
        api_key="key",
        api_secret=SECRET,
        room=room,
        identity=identity,
        text_only=text_only,
        ttl=timedelta(seconds=ttl),
        now=now,
    )
    options = {"verify_exp": False, "verify_nbf": False}
    claims = jwt.decode(token.jwt, SECRET, algorithms=["HS256"], issuer="key", options=options)
    assert claims["sub"] == token.identity == identity
    assert claims["exp"] == token.expires_at.timestamp()
    assert claims["nbf"] <= now.timestamp() < claims["nbf"] + 1
    assert 0 <= now.timestamp() + ttl - claims["exp"] < 1
    video = dict(claims["video"])
    assert video.pop("room") == room
    sources = video.pop("canPublishSources", None)
    assert sources == (None if text_only else ["microphone"])
    assert video == {
        "roomJoin": True,
        "canPublish": not text_only,
        "canPublishData": True,
        "canSubscribe": True,
    }
    assert jwt.get_unverified_header(token.jwt)["alg"] == "HS256"


def test_a_token_is_what_pyjwt_signs() -> None:
    """Header, payload and signature are byte for byte those of livekit-api's signer."""
    now = datetime.now(UTC)
    token = mint(
        api_key="key",
        api_secret=SECRET,
        room="r",
        identity="i",
        text_only=True,
        ttl=timedelta(seconds=60),
        now=now,
    )
    claims = jwt.decode(token.jwt, options={"verify_signature": False})
    assert token.jwt == jwt.encode(claims, SECRET, algorithm="HS256")
    assert api.TokenVerifier("key", SECRET).verify(token.jwt)


def test_each_secret_signs_its_own_tokens() -> None:
    """A token is signed with the secret that is given, whichever signed the one before."""
    for secret in (SECRET, "other" * 10, SECRET):
        token = mint(
            api_key="key",
            api_secret=secret,
            room="room",
            identity=IDENTITY,
            text_only=False,
            ttl=timedelta(minutes=1),
            now=datetime.now(UTC),
        )
        assert jwt.decode(token.jwt, secret, algorithms=["HS256"])["video"]["room"] == "room"
