"""What the peers in Python share, as a careful engineer would write it: keys, assistants, limits, texts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

AGENT = "api-agent"
MAX_METADATA_BYTES = 16 * 1024
MAX_DEPTH = 16
TTL_S = 60
_PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z0-9_.]+)\s*\}\}")


@dataclass(frozen=True)
class Deployment:
    """Who may call what, read once at the start: keys by their SHA-256, assistants by their id."""

    owners: dict[str, str]
    assistants: dict[str, dict[str, Any]]
    livekit_url: str
    api_key: str
    api_secret: str

    @classmethod
    def from_environment(cls) -> Deployment:
        """Read the same files and variables as the service."""
        keys = json.loads(Path(os.environ["WEBCALL_API_KEYS_FILE"]).read_text())
        assistants = json.loads(Path(os.environ["WEBCALL_ASSISTANTS_FILE"]).read_text())
        return cls(
            owners={record["api_key_hash"]: record["user_email"] for record in keys},
            assistants={record["assistant_id"]: record for record in assistants},
            livekit_url=os.environ["LIVEKIT_URL"],
            api_key=os.environ["LIVEKIT_API_KEY"],
            api_secret=os.environ["LIVEKIT_API_SECRET"],
        )

    def owner_of(self, authorization: str) -> str | None:
        """Return whose key an Authorization header holds."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        return self.owners.get(hashlib.sha256(key.strip().encode()).hexdigest())

    def assistant_of(self, owner: str, assistant_id: str) -> dict[str, Any] | None:
        """Return the owner's assistant of this id."""
        record = self.assistants.get(assistant_id)
        if record is None or record["assistant_created_by_email"] != owner:
            return None
        return record


def check_metadata(metadata: dict[str, Any]) -> None:
    """Raise `ValueError` for metadata that is too large or too deep."""
    if len(json.dumps(metadata, ensure_ascii=False, separators=(",", ":")).encode()) > MAX_METADATA_BYTES:
        raise ValueError("metadata is too large")
    if _depth(metadata) > MAX_DEPTH:
        raise ValueError("metadata is too deep")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(item) for item in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(item) for item in value), default=0)
    return 0


def fill(text: str, metadata: dict[str, Any]) -> str:
    """Return the text with its names replaced: no sections, no defaults."""

    def value_of(match: re.Match[str]) -> str:
        value: Any = metadata
        for name in match[1].split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return "" if value is None else value if isinstance(value, str) else json.dumps(value)

    return _PLACEHOLDER.sub(value_of, text)


def room_of(assistant_id: str) -> str:
    """Return a new room's name."""
    return f"{assistant_id}_{secrets.token_hex(4)}"


def identity() -> str:
    """Return a new participant's identity."""
    return "caller-" + secrets.token_hex(16)


def dispatch_of(assistant: dict[str, Any], room: str, metadata: dict[str, Any], text_only: bool) -> str:
    """Return the dispatch's metadata, in the form that the service's agents read."""
    filled = dict(assistant)
    for field in ("assistant_prompt", "assistant_start_instruction"):
        if text := assistant.get(field):
            filled[field] = fill(text, metadata)
    call = {
        "version": 1,
        "room_name": room,
        "metadata": metadata,
        "max_duration_s": 3600,
        "assistant": filled,
    }
    return json.dumps({**metadata, "call_type": "web", "text_only": text_only, "web_call": call})


def answer_of(room: str, token: str, url: str, expires_at: str) -> dict[str, Any]:
    """Return the answer's body."""
    data = {"room_name": room, "token": token, "server_url": url, "expires_at": expires_at}
    return {"success": True, "message": "Token generated successfully", "data": data}
