"""Events signed as LiveKit signs them, for what a real server cannot be made to send."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from datetime import timedelta
from typing import Any

from livekit import api

PATH = "/livekit/webhook"


def event(kind: str, room: str, **fields: Any) -> dict[str, Any]:
    """Return an event as LiveKit writes it; a `participant` may be given beside."""
    now = int(time.time())
    about = {"name": room, "sid": "RM_x", "creationTime": str(now), "creationTimeMs": str(now * 1000)}
    return {"event": kind, "room": about, "id": "EV_" + secrets.token_hex(6), "createdAt": str(now), **fields}


def sign(body: bytes, key: str, secret: str, valid_for: timedelta = timedelta(minutes=5)) -> str:
    """Return the token that LiveKit sends with a body."""
    token = api.AccessToken(key, secret).with_ttl(valid_for)
    return token.with_sha256(base64.b64encode(hashlib.sha256(body).digest()).decode()).to_jwt()


def signed(told: dict[str, Any], key: str, secret: str) -> tuple[bytes, str]:
    """Return an event's body and its signature."""
    body = json.dumps(told).encode()
    return body, sign(body, key, secret)
