"""Repeats of a request, recognised without storage: names and identities come from an HMAC. Pure.

Everything is derived from the key, the assistant, the header and a generation, under a subkey that is
made from LiveKit's API secret for this alone. LiveKit's room holds the rest, for as long as it lives.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from webcall.errors import IdempotencyConflict
from webcall.json_writing import as_text

LONGEST_HEADER = 255
GENERATIONS = 8
"""How many rooms of one header may live at once: each waits a minute of leeway longer than its token."""

OTHER_BODY = (
    "Used before with another body, for a call that lives: send the same body to get that call, "
    "or a new Idempotency-Key for a new one."
)

LEFT_BEHIND = datetime.fromtimestamp(0, UTC)
"""In a room's mark: a dead LiveKit node had left it behind; a repeat has made it again, and not taken it."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_NONCE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a room's metadata says of the request that made it. A browser can read it: no digest is plain.

    `expires_at` is the end of the first token; `draw` tells the request that made the room from its repeats.
    """

    nonce: str
    fingerprint: str
    expires_at: datetime
    draw: str = field(default_factory=lambda: secrets.token_hex(8))

    def as_metadata(self) -> str:
        """Return it as a room's metadata."""
        expires = int(self.expires_at.timestamp())
        return json.dumps(
            {"nonce": self.nonce, "body": self.fingerprint, "expires": expires, "draw": self.draw}
        )


@dataclass(frozen=True, slots=True)
class Found:
    """A room that lived for an earlier request of the same a moment ago: LiveKit's id of it, and its mark."""

    sid: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Candidate:
    """A room that a request may get: its name, its person's identity, and how to know it again.

    `fingerprint` is empty where a request cannot be repeated; `found` is the room that is there already.
    """

    room_name: str
    identity: str
    nonce: str = field(repr=False)
    fingerprint: str = field(default="", repr=False)
    found: Found | None = None

    @property
    def repeatable(self) -> bool:
        """Whether another request may get the room, too."""
        return bool(self.fingerprint)

    def metadata(self, expires_at: datetime) -> str:
        """Return the metadata of the room, if this request makes it with a token until `expires_at`."""
        if self.repeatable:
            return Mark(self.nonce, self.fingerprint, expires_at).as_metadata()
        return as_text({"nonce": self.nonce})

    def recognise(self, metadata: str) -> Mark | None:
        """Return the mark in a living room's metadata; None if the room is a stranger's."""
        try:
            found = json.loads(metadata)
            mark = Mark(
                str(found["nonce"]),
                str(found["body"]),
                datetime.fromtimestamp(int(found["expires"]), UTC),
                str(found["draw"]),
            )
        except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
            return None
        return mark if self.repeatable and _same(mark.nonce, self.nonce) else None

    def check_body(self, mark: Mark) -> None:
        """Raise `IdempotencyConflict` if the room of this mark was made for another body."""
        if not _same(mark.fingerprint, self.fingerprint):
            raise IdempotencyConflict(OTHER_BODY)


def made_here(metadata: str) -> bool:
    """Return whether a room's metadata has the form that this service gives it.

    That is no proof: whoever may make rooms on the same LiveKit may write the same.
    """
    try:
        found = json.loads(metadata)
    except (ValueError, RecursionError):
        return False
    nonce = found.get("nonce") if isinstance(found, dict) else None
    return isinstance(nonce, str) and _NONCE.fullmatch(nonce) is not None


def check_header(header: str, *, uuid_only: bool) -> None:
    """Raise `IdempotencyConflict` unless the header can be used; `uuid_only` for publishable keys.

    Visitors of one page share a publishable key: who could guess another's header would take their place.
    """
    if not 1 <= len(header) <= LONGEST_HEADER or not header.isprintable():
        raise IdempotencyConflict(f"Not 1 to {LONGEST_HEADER} printable characters.")
    if uuid_only and not _UUID.fullmatch(header):
        raise IdempotencyConflict(
            "Not a UUID, which a publishable key asks for: send what crypto.randomUUID() returns."
        )


def derived_candidates(
    *, api_secret: str, counted_as: str, assistant_id: str, header: str, body: Any
) -> list[Candidate]:
    """Return the candidates of all generations: the same ones for every repeat.

    `counted_as` tells one caller from another; `body` is the request's body as a JSON value.
    """
    if not counted_as:
        raise ValueError("nothing to tell callers apart: the repeats of two would meet")
    subkey = hmac.digest(api_secret.encode(), b"webcall: Idempotency-Key, version 1", "sha256")
    fixed = (counted_as, assistant_id, header)

    def derive(what: str, generation: int, *more: str) -> str:
        # Each part with its length before it: no two lists of parts are the same bytes.
        parts = [part.encode("utf-8", "surrogatepass") for part in (what, *fixed, str(generation), *more)]
        message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return hmac.digest(subkey, message, "sha256").hex()

    text = canonical(body)
    return [
        Candidate(
            f"{assistant_id}_{derive('room', generation)[:8]}",
            f"caller-{derive('identity', generation)[:32]}",
            derive("nonce", generation)[:32],
            derive("body", generation, text)[:32],
        )
        for generation in range(GENERATIONS)
    ]


def canonical(value: Any) -> str:
    """Return a JSON value as text that is the same for equal values, and for no others.

    Names in any order and white space do not matter. Numbers are equal by their value, as in JSON there
    is one type of them: 1, 1.0 and 1e0 are the same, and whole numbers of any size are exact.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
