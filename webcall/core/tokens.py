"""Mint the token that a caller joins with. Pure: the clock comes in as an argument."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from livekit import api

from webcall.json_writing import as_bytes


@dataclass(frozen=True, slots=True)
class Token:
    """A signed token, whom it admits, and until when."""

    jwt: str = field(repr=False)
    identity: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Participant:
    """What a person is called and carries in the room, for everybody in it to see."""

    name: str = field(default="", repr=False)
    metadata: str = field(default="", repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict, repr=False)


def _grants(*, text_only: bool) -> dict[str, Any]:
    """Return the grants of a caller as the token has them, but for the room."""
    grants = api.VideoGrants(
        room_join=True,
        can_subscribe=True,
        can_publish_data=True,
        can_publish=not text_only,
        can_publish_sources=None if text_only else ["microphone"],
    )
    claims = api.AccessToken("key", "secret").with_grants(grants).claims.asdict()
    video: dict[str, Any] = claims["video"]
    return video


# livekit-api's own names of the grants, asked for once: it makes them anew for each token.
_TALKING, _TYPING = _grants(text_only=False), _grants(text_only=True)


# JWS (RFC 7515) of a payload that is ready. PyJWT would check and encode the same header, and look at the
# secret for keys of other kinds, for each token.
_HEADER = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"  # {"alg":"HS256","typ":"JWT"}


def _signed(payload: bytes, api_secret: str) -> str:
    """Return a payload as a JSON Web Token, signed by HS256 (RFC 7518, section 3.2)."""
    signing = _HEADER + b"." + _base64url(payload)
    code = _keyed(api_secret).copy()
    code.update(signing)
    return (signing + b"." + _base64url(code.digest())).decode("ascii")


# hmac.digest takes the secret in each time, and lets go of the interpreter's lock for it.
@lru_cache(maxsize=2)
def _keyed(api_secret: str) -> hmac.HMAC:
    """Return HMAC-SHA256 that has taken in its key and nothing else: to be copied."""
    return hmac.new(api_secret.encode(), digestmod="sha256")


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def mint(
    *,
    api_key: str,
    api_secret: str,
    room: str,
    identity: str,
    text_only: bool,
    ttl: timedelta,
    now: datetime,
    participant: Participant | None = None,
) -> Token:
    """Return a token that joins `room` as `identity` until `now + ttl` (whole seconds) and does no more.

    It may subscribe, publish data (typed chat travels as data), and publish the microphone, or
    nothing if `text_only`. What each grant allows: https://docs.livekit.io/home/get-started/authentication/
    """
    expires = int((now + ttl).timestamp())
    # AccessToken.to_jwt reads the clock itself; the token's `expires_at` has to be the very same moment.
    claims: dict[str, Any] = {
        "video": {**(_TYPING if text_only else _TALKING), "room": room},
        "iss": api_key,
        "sub": identity,
        "nbf": int(now.timestamp()),
        "exp": expires,
    }
    if participant is not None:
        shown = {
            "name": participant.name,
            "metadata": participant.metadata,
            "attributes": dict(participant.attributes),
        }
        claims |= {name: value for name, value in shown.items() if value}
    return Token(_signed(as_bytes(claims), api_secret), identity, datetime.fromtimestamp(expires, UTC))
