"""What the first `make run` writes: LiveKit's key pair, a sample assistant and a key to call it with."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from scripts.children import Problem
from webcall.records import PREFIX_LENGTH, hash_api_key, new_api_key

OWNER = "owner@localhost"
ASSISTANT_ID = "sample-assistant"

ASSISTANT = {
    "assistant_id": ASSISTANT_ID,
    "assistant_name": "Sample receptionist",
    "assistant_description": "Greets the caller by the name in the call's metadata, and answers what it can.",
    "assistant_mode": "pipeline",
    "assistant_prompt": (
        "You are the receptionist of {{company}} and speak with {{customer.name}}."
        "{{#customer.plan}} The customer is on the {{customer.plan}} plan.{{/customer.plan}}"
        "{{^customer.plan}} The customer has no plan yet.{{/customer.plan}}"
        " Answer in one or two short sentences."
    ),
    "assistant_start_instruction": "Greet {{customer.name}} by name and ask how you can help.",
    "assistant_placeholder_defaults": {"company": "Example Ltd", "customer": {"name": "our guest"}},
    "assistant_created_by_email": OWNER,
}
METADATA = {"customer": {"name": "Ada", "plan": "gold"}}


@dataclass(frozen=True)
class KeyPair:
    """LiveKit's API key and the secret that belongs to it."""

    api_key: str
    api_secret: str = field(repr=False)


def livekit_key_pair(folder: Path) -> KeyPair:
    """Return the key pair kept in `folder`, made at the first call."""
    path = folder / "livekit_key.json"
    if not path.exists():
        pair = KeyPair("API" + secrets.token_hex(6), secrets.token_urlsafe(48))
        write_private(path, json.dumps(asdict(pair), indent=2) + "\n")
    return KeyPair(**_kept(path, "api_key", "api_secret"))


def sample_key(folder: Path, keys: Path, assistants: Path) -> str | None:
    """Return the API key of the sample assistant, after writing what is missing of the two.

    `keys` and `assistants` are files in the format of the file backend, and are never changed once
    they exist: they are the operator's. Where one of them was there before the first run, the other
    is made empty, since the backend needs both, and the answer is None. The key is kept in
    `folder`, to be shown again.
    """
    path = folder / "sample_key.json"
    if not path.exists():
        if keys.exists() or assistants.exists():
            for records in (keys, assistants):
                if not records.exists():
                    _write_records(records, [])
            return None
        write_private(path, json.dumps({"api_key": new_api_key()}, indent=2) + "\n")
    api_key = _kept(path, "api_key")["api_key"]
    if not assistants.exists():
        _write_records(assistants, [ASSISTANT])
    if not keys.exists():
        _write_records(keys, [key_record(api_key)])
    return api_key


def _kept(path: Path, *names: str) -> dict[str, str]:
    try:
        found = json.loads(path.read_text("utf-8"))
        return {name: str(found[name]) for name in names}
    except (OSError, ValueError, TypeError, KeyError) as error:
        # Without the error's text, which may quote the secret.
        raise Problem(f"{path}: cannot be used ({type(error).__name__}): remove it and start again") from None


def key_record(api_key: str) -> dict[str, Any]:
    """Return the record of a key that calls the sample assistant."""
    return {
        "api_key_hash": hash_api_key(api_key),
        "api_key_prefix": api_key[:PREFIX_LENGTH],
        "user_name": "Sample key of make run",
        "user_email": OWNER,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "is_active": True,
    }


def _write_records(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, yaml.safe_dump(records, sort_keys=False, allow_unicode=True, width=100))


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path`, all of it or nothing, readable by its owner only."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    unfinished.replace(path)
