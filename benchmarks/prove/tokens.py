"""A valid token always meets its room; and one call is one request to LiveKit."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
from livekit import rtc

from benchmarks.prove.ground import HELPER, WORKERS, Ground, service, statuses
from benchmarks.prove.promise import Tried
from tests.support.http import at_once
from webcall.core.rooms import LEEWAY_S

JOIN_WINDOW_S = 4
AT_ONCE = 30
JOINING = 5
# Before the second in which a token ends; the machine may be busy.
EARLY_S = 0.8
SOURCE = "/web_call/token_source"
TYPED = {"text_only": True}


def token_meets_room(folder: Path) -> Tried:
    """Join with tokens in their last second, in the last one of LiveKit's leeway, and after repeats."""
    with service(folder, join_window_s=JOIN_WINDOW_S) as ground, ThreadPoolExecutor(1) as beside:
        joining = beside.submit(_joined_at_the_last_moment, ground)
        tokens = [answer.json["data"]["token"] for answer in at_once(AT_ONCE, lambda _: ground.call())]
        headers = [{"Idempotency-Key": str(uuid.uuid4())} for _ in range(AT_ONCE)]
        at_once(AT_ONCE, lambda number: ground.call(**headers[number]))
        time.sleep(0.6 * JOIN_WINDOW_S)
        again = at_once(AT_ONCE, lambda number: ground.call(**headers[number]))
        repeated = [answer.json["data"]["token"] for answer in again]
        found: list[int] = []
        for leeway_s in (0, LEEWAY_S):
            for group in (tokens, repeated):
                _wait_until(min(map(_end, group)) + leeway_s - EARLY_S)
                found += statuses(ground.livekit, group)
        # The same question, a moment later: else a 200 would mean nothing.
        _wait_until(max(map(_end, [*tokens, *repeated])) + LEEWAY_S + 2)
        ended = statuses(ground.livekit, [*tokens, *repeated])
        came, people = joining.result()
        forgotten = _after_a_restart(ground)
    met = found.count(200)
    return Tried(
        f"{len(found)} tokens in the last second of their life and of LiveKit's {LEEWAY_S} s of leeway, half "
        f"of them of repeated requests; {people} real participants in that last second; {len(ended)} tokens "
        f"after it; {len(forgotten)} after a restart of LiveKit, which loses its rooms",
        f"{met} of {len(found)} and {came} of {people} met their room; after its end {ended.count(200)} of "
        f"{len(ended)} were taken; over the restart {forgotten.count(200)} came into an empty room",
        kept=met == len(found) and came == people and 200 not in ended and set(forgotten) == {404},
    )


def _end(token: str) -> float:
    return float(jwt.decode(token, options={"verify_signature": False})["exp"])


def _wait_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))


def _joined_at_the_last_moment(ground: Ground) -> tuple[int, int]:
    """Let people join in the last second of the leeway; return how many came in, of how many."""
    tokens = [ground.call().json["data"]["token"] for _ in range(JOINING)]

    async def join(token: str) -> bool:
        room = rtc.Room()
        await asyncio.sleep(max(0.0, _end(token) + LEEWAY_S - EARLY_S - time.time()))
        try:
            await room.connect(ground.livekit.url, token)
        except rtc.ConnectError:
            return False
        await room.disconnect()
        return True

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*map(join, tokens)))

    return asyncio.run(all_of_them()), len(tokens)


def _after_a_restart(ground: Ground) -> list[int]:
    """Return the statuses of tokens whose rooms LiveKit has lost."""
    tokens = [ground.call().json["data"]["token"] for _ in range(AT_ONCE)]
    ground.livekit.stop()
    ground.livekit.start()
    return statuses(ground.livekit, tokens)


def _count_from_now(ground: Ground) -> None:
    """Wait until each process has heard LiveKit's clock, as it does once when it starts, and count anew."""
    until = time.monotonic() + 20
    while ground.way.asked["RoomService/ListRooms"] < WORKERS and time.monotonic() < until:
        time.sleep(0.05)
    ground.way.asked.clear()


def one_request_a_call(folder: Path) -> Tried:
    """Count what goes to LiveKit for calls of every kind."""
    source = {"room_config": {"agents": [{"agent_name": "helper", "metadata": json.dumps({"a": 1})}]}}
    with service(folder) as ground:

        def call(number: int) -> int:
            if number % 4 == 3:
                return ground.call(source, SOURCE).status
            return ground.call(HELPER | (TYPED if number % 4 == 2 else {})).status

        _count_from_now(ground)
        answers = at_once(50, call) + at_once(50, call)
        asked = dict(ground.way.asked)
        ground.way.asked.clear()
        refused = [ground.call({"assistant_id": "nobody"}).status, ground.call({}).status]
        after_refusals = dict(ground.way.asked)
        key = {"Idempotency-Key": str(uuid.uuid4())}
        ground.call(**key)
        first = dict(ground.way.asked)
    good = sum(status in (200, 201) for status in answers)
    look_first = {"RoomService/ListRooms": 1, "RoomService/CreateRoom": 1}
    return Tried(
        f"{len(answers)} calls at once, of every kind, on two processes, their requests counted in front of "
        f"LiveKit, after the one of each process at its start; {len(refused)} refused ones; one with an "
        "Idempotency-Key",
        f"{asked.get('RoomService/CreateRoom', 0)} CreateRoom, {sum(asked.values()) - good} others; "
        f"{sum(after_refusals.values())} for the refused; with the key a look at its room before",
        kept=good == len(answers)
        and asked == {"RoomService/CreateRoom": good}
        and not after_refusals
        and first == look_first,
    )
