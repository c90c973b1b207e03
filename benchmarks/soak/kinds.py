"""The kinds of request in the mixed load, each with what is right to answer."""

from __future__ import annotations

import asyncio
import collections
import json
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.soak.asking import BOTH, CALL, FILES, LISTING, METADATA, SOURCE, Asking, body
from benchmarks.soak.records import NOBODY, PAGE
from benchmarks.soak.refusals import faulty, nobody, stranger
from benchmarks.soak.stage import JOIN_WINDOW_S, SLOW_RATE

ROOM_S = JOIN_WINDOW_S + 60 + 10
"""How long a room of a call that nobody joins may be there."""


async def placed(asking: Asking) -> None:
    """Place a call that nobody joins, key and assistant from files."""
    answer = await asking.ask("call", CALL, key=asking.records.steady, body=body(), right={200}, needs=FILES)
    if answer:
        await asking.check_call("call", answer, NOBODY)


async def stored(asking: Asking) -> None:
    """Place a call by a key of MongoDB's, with an assistant of either."""
    wanted = asking.random.choice(("desk", "kept"))
    answer = await asking.ask(
        "call, stored key", CALL, key=asking.records.stored, body=body(wanted), right={200}, needs=BOTH
    )
    if answer:
        await asking.check_call("call, stored key", answer, NOBODY)


async def typed(asking: Asking) -> None:
    """Place a typed chat."""
    answer = await asking.ask(
        "call, text", CALL, key=asking.records.steady, body=body(text_only=True), right={200}, needs=FILES
    )
    if answer:
        await asking.check_call("call, text", answer, NOBODY)


async def source(asking: Asking) -> None:
    """Ask as LiveKit's SDKs do."""
    agent = {"agent_name": "desk", "metadata": json.dumps(METADATA)}
    answer = await asking.ask(
        "token_source",
        SOURCE,
        key=asking.records.steady,
        body={"room_config": {"agents": [agent]}, "participant_name": "Ada"},
        right={201},
        needs=FILES,
    )
    if answer:
        await asking.check_call("token_source", answer, NOBODY)


async def repeated(asking: Asking) -> None:
    """Place one call three times by its Idempotency-Key, twice at once, and once with another body."""
    kind, key = "call, repeated", asking.records.steady
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    began = asking.oracle.clock()

    async def place(right: int = 200, **more: Any) -> Any:
        # A LiveKit that was restarted has forgotten the first one.
        wanted = body(**more)
        return await asking.ask(
            kind, CALL, key=key, headers=headers, body=wanted, right={right, 200}, needs=FILES
        )

    answers = [*await asyncio.gather(place(), place()), await place()]
    other = await place(422, text_only=True)
    now = asking.oracle.clock()
    # A room for which nobody has come is forgotten with its first token.
    if asking.oracle.down(["livekit"], began, now) or now - began > JOIN_WINDOW_S - 1:
        return
    rooms = {answer.data["room_name"] for answer in answers if answer}
    if len(rooms) > 1:
        asking.oracle.fault(kind, f"{len(rooms)} rooms for one Idempotency-Key")
    if other and other.status != 422:
        asking.oracle.fault(kind, f"{other.status} instead of 422: another body under one Idempotency-Key")
    if answers[-1]:
        await asking.check_call(kind, answers[-1], NOBODY)


async def few(asking: Asking) -> None:
    """Place calls by a key that may have two at once; there are never more."""
    answer = await asking.ask(
        "call, two at once",
        CALL,
        key=asking.records.few,
        body=body("pair"),
        right={200, 429},
        needs=FILES,
    )
    now = asking.oracle.clock()
    # An emptied Redis has forgotten who is in a call.
    if answer is None or asking.oracle.down(["redis"], now - ROOM_S, now):
        return
    try:
        living = await asking.living("pair_")
    except Exception:
        return  # LiveKit is away: its own kinds tell that
    if len(living) > 2 and not asking.stage.uncounted_since(ROOM_S):
        asking.oracle.fault("call, two at once", f"{len(living)} rooms at once of a key that may have two")


class Slow:
    """Lists by a key that has a rate; no more than that pass, whatever the process."""

    def __init__(self) -> None:
        self._passed: collections.deque[float] = collections.deque()

    async def __call__(self, asking: Asking) -> None:
        """Send a listing, and count it if it passed."""
        answer = await asking.ask(
            "listing, past its rate",
            LISTING,
            method="GET",
            key=asking.records.slow,
            right={200, 429},
            needs=("mongo",),
        )
        now = asking.oracle.clock()
        while self._passed and self._passed[0] < now - 60:
            self._passed.popleft()
        if answer and answer.status == 200:
            self._passed.append(answer.sent)
        # Windows are fixed, so that a minute of the clock can hold the ends of two.
        excused = asking.oracle.down(["redis"], now - 120, now)
        if len(self._passed) > 2 * SLOW_RATE and not (excused or asking.stage.uncounted_since(120)):
            asking.oracle.fault(
                "listing, past its rate", f"{len(self._passed)} in a minute at {SLOW_RATE}/minute"
            )


async def page(asking: Asking) -> None:
    """Call from a web page by its publishable key; and from another's page, and from none."""
    key, wanted = asking.records.page, {"assistant_id": "shop", "metadata": {"customer": {"name": "Ada"}}}
    answer = await asking.ask(
        "page", CALL, key=key, body=wanted, headers={"Origin": PAGE}, right={200}, needs=FILES
    )
    if answer:
        await asking.check_call("page", answer, NOBODY)
    for headers in ({"Origin": "https://evil.example"}, {}):
        await asking.ask("page, wrong origin", CALL, key=key, body=wanted, headers=headers, right={403})


async def listing(asking: Asking) -> None:
    """List the owner's assistants."""
    answer = await asking.ask(
        "listing", LISTING, method="GET", key=asking.records.steady, right={200}, needs=("mongo",)
    )
    if answer:
        found = {one["assistant_id"] for one in answer.data["assistants"]}
        if missing := asking.records.listed() - found:
            asking.oracle.fault("listing", f"without {sorted(missing)}")


async def health(asking: Asking) -> None:
    """Ask what a load balancer and Prometheus ask."""
    await asking.ask("health", "/health", method="GET", right={200})
    await asking.ask("ready", "/ready", method="GET", right={200}, needs=BOTH)
    if asking.random.random() < 0.3:
        await asking.ask("metrics", "/metrics", method="GET", right={200})


async def pages(asking: Asking) -> None:
    """Load the playground, the widget and the documents, with a file that they name."""
    path = asking.random.choice(("/playground", "/widget.js", "/openapi.json", "/docs"))
    answer = await asking.ask("pages", path, method="GET", right={200})
    text = answer.body.decode() if answer else ""
    names = re.findall(r'"(?:\./|/)?((?:playground|widget|docs)/[\w.-]+\.[0-9a-f]{12}\.\w+)"', text)
    for name in sorted(set(names))[:3]:
        await asking.ask("pages' files", f"/{name}", method="GET", right={200})


async def others(asking: Asking) -> None:
    """Ask for what there is not, as a browser before a call, and as a false LiveKit."""
    await asking.ask("nowhere", "/nowhere", method="GET", right={404})
    await asking.ask("wrong method", CALL, method="DELETE", right={405})
    preflight = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    await asking.ask("preflight", CALL, method="OPTIONS", headers=preflight, right={200, 204})
    forged = {"Authorization": "forged"}
    await asking.ask("forged webhook", "/livekit/webhook", body=b"{}", headers=forged, right={401})


Kind = Callable[[Asking], Awaitable[None]]


def mix() -> dict[Kind, int]:
    """Return each kind with how often it comes, of a hundred."""
    return {
        placed: 20,
        stored: 13,
        typed: 6,
        source: 9,
        repeated: 6,
        few: 4,
        Slow(): 6,
        page: 4,
        listing: 9,
        stranger: 6,
        faulty: 5,
        nobody: 4,
        health: 4,
        pages: 3,
        others: 1,
    }


CALLS = ("call", "call, stored key", "call, text", "token_source", "page")
"""The kinds whose latency is shown: one call, placed anew."""
