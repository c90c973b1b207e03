"""Mint the token that a caller joins with. Pure: the clock comes in as an argument."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from jwt import PyJWS
from jwt.algorithms import HMACAlgorithm
from livekit import api


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


class _Signer(HMACAlgorithm):
    """HS256 that looks once at a secret: PyJWT would try to read it as keys of other kinds each time."""

    def __init__(self) -> None:
        super().__init__(HMACAlgorithm.SHA256)
        self._prepared: tuple[str | bytes, bytes] = "", b""

    def prepare_key(self, key: str | bytes) -> bytes:
        known, prepared = self._prepared
        if key != known or not key:
            prepared = super().prepare_key(key)
            self._prepared = key, prepared
        return prepared


_JWS = PyJWS()
_JWS.unregister_algorithm("HS256")
_JWS.register_algorithm("HS256", _Signer())


def new_identity() -> str:
    """Return an identity that nobody else has and nobody can guess: 128 random bits."""
    return "caller-" + secrets.token_hex(16)


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
    expires_at = (now + ttl).astimezone(UTC).replace(microsecond=0)
    # AccessToken.to_jwt reads the clock itself; the answer's `expires_at` has to be the very same moment.
    claims: dict[str, Any] = {
        "video": {**(_TYPING if text_only else _TALKING), "room": room},
        "iss": api_key,
        "sub": identity,
        "nbf": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    if participant is not None:
        shown = {
            "name": participant.name,
            "metadata": participant.metadata,
            "attributes": dict(participant.attributes),
        }
        claims |= {name: value for name, value in shown.items() if value}
    payload = json.dumps(claims, separators=(",", ":")).encode()
    return Token(_JWS.encode(payload, api_secret, algorithm="HS256"), identity, expires_at)
