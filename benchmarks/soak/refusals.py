"""The kinds of request that are refused, each with its status."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.soak.asking import BOTH, CALL, FILES, Asking, body
from webcall.records import new_api_key


async def stranger(asking: Asking) -> None:
    """Come with a key that nobody knows, or none, or one that was revoked, and with any body."""
    raw = asking.random.choice((body(), b"{", b"", {"assistant_id": 1}))
    records = asking.records
    for kind, key, needs in (
        ("unknown key", new_api_key(), ("mongo",)),
        ("no key", None, ()),
        ("revoked key", records.revoked, ()),
        ("revoked key, stored", records.stored_revoked, ("mongo",)),
    ):
        await asking.ask(kind, CALL, key=key, body=raw, right={401}, needs=needs)


_FAULTY: dict[str, Any] = {
    "no JSON": b'{"assistant_id": "desk"',
    "empty": b"",
    "NaN": b'{"assistant_id": "desk", "metadata": {"x": NaN}}',
    "twice": b'{"assistant_id": "desk", "assistant_id": "desk"}',
    "an array": b"[]",
    "surrogate": b'{"assistant_id": "desk", "metadata": {"x": "\\ud800"}}',
    "unknown field": {"assistant_id": "desk", "metdata": {}},
    "wrong type": {"assistant_id": 5},
    "deep": b'{"assistant_id": "desk", "metadata": ' + b'{"a":' * 40 + b"1" + b"}" * 41,
    "large metadata": {"assistant_id": "desk", "metadata": {"x": "y" * 17_000}},
    "no UTF-8": b'{"assistant_id": "\xff"}',
}


async def faulty(asking: Asking) -> None:
    """Send what is no request; and one that is too large."""
    name = asking.random.choice(list(_FAULTY))
    key = asking.records.steady
    await asking.ask("bad body", CALL, key=key, body=_FAULTY[name], right={422})
    large = json.dumps(body(padding="x" * 70_000)).encode()
    await asking.ask("oversized body", CALL, key=key, body=large, right={413})


async def nobody(asking: Asking) -> None:
    """Ask for assistants that are not to be had, and for a chat that cannot be."""
    key = asking.records.steady
    for name, needs in (("unknown", BOTH), ("resting", FILES), ("foreign", BOTH)):
        await asking.ask("no such assistant", CALL, key=key, body=body(name), right={404}, needs=needs)
    wanted = body("voice", text_only=True)
    await asking.ask("no text path", CALL, key=key, body=wanted, right={400}, needs=FILES)
