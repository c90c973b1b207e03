"""What a fault does to callers and operators, measured from outside."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.faults.catalog import LIMITS, Fault
from tests.faults.stages import CANARY, PLACES_OF_A_KEY, THREADS, Stage, assistant, key
from tests.support.deployment import KEY, bearer
from tests.support.http import JSON, Answer, at_once, get, send

STRANGER = "lvk_stranger_" + "s" * 30
CALLERS = THREADS + 8
# A gate's wait for a place comes before a call's own time.
GATE_S = 1.0
HEALTH_MS = 100


@dataclass
class Outcome:
    """What was seen of one fault."""

    answers: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    crowd: set[int] = field(default_factory=set)
    crowd_s: float = 0.0
    bare_503: int = 0
    refused_tokens: int = 0
    stranger: int = 0
    health_ms: float = 0.0
    ready: tuple[int, list[str], list[str]] = (0, [], [])
    while_mending: set[int] = field(default_factory=set)
    recovered_s: float = float("inf")
    ready_s: float = float("inf")
    repeats: set[str] = field(default_factory=set)
    left_at_first: int = 0
    left: set[str] = field(default_factory=set)
    left_s: float = 0.0
    lost: set[str] = field(default_factory=set)
    assistants: set[int] = field(default_factory=set)
    places: int = 0
    told: list[str] = field(default_factory=list)
    secrets_told: list[str] = field(default_factory=list)

    def in_time(self, within_s: float) -> bool:
        """Return whether callers and /health had their answers when they should have."""
        crowd = self.crowd_s < within_s + 1 + GATE_S
        return max(self.seconds) < within_s + 1 and crowd and self.health_ms < HEALTH_MS


class Measuring:
    """One fault on one stage."""

    def __init__(self, stage: Stage, fault: Fault, number: int) -> None:
        self._stage = stage
        self._fault = fault
        self._number = number
        self._port = stage.service.port
        self._outcome = Outcome()
        self._rooms: set[str] = set()
        self._repeated = str(uuid.uuid4())
        self._begin = 0
        self._healed = 0.0

    def run(self) -> Outcome:
        """Make the fault, look, end it, and look what is left of it."""
        out, stage = self._outcome, self._stage
        before = stage.names(self._number)
        self._begin = stage.log_size()
        if not self._fault.from_start:
            # Connections that are kept, several of them.
            assert until(lambda: {one.status for one in at_once(4, lambda _: self._call(KEY))} == {200}, 20)
            self._until_ready()
        try:
            self._fault.make(stage)
            for api_key in (key(self._number), key(self._number)):
                self._timed(api_key)
            self._timed(KEY, self._repeated)
            out.stranger = self._call(STRANGER).status
            self._look_at_health()
            self._look_at_ready()
        finally:
            stage.heal()
        self._healed = time.monotonic()
        left = stage.names(self._number) - before
        self._recover()
        for _ in range(2):
            until(self._repeat, 20)
        self._look_for_rooms(before)
        # But for those that have got their caller by a repeat.
        out.left_at_first = len(left - self._rooms)
        while out.places <= PLACES_OF_A_KEY and self._call(key(self._number)).status == 200:
            out.places += 1
        self._read_log()
        return out

    def _call(self, api_key: str, repeated: str | None = None) -> Answer:
        headers = bearer(api_key) | JSON | ({"Idempotency-Key": repeated} if repeated else {})
        body = {"assistant_id": assistant(self._number), "metadata": {"name": CANARY}}
        answer = send(self._port, body, headers)
        if answer.status == 200:
            self._rooms.add(answer.json["data"]["room_name"])
        return answer

    def _repeat(self) -> bool:
        """Send the request with the Idempotency-Key again; return whether it was answered."""
        answer = self._call(KEY, self._repeated)
        if answer.status == 200:
            self._outcome.repeats.add(answer.json["data"]["room_name"])
        return answer.status == 200

    def _timed(self, api_key: str, repeated: str | None = None) -> None:
        began = time.monotonic()
        answer = self._call(api_key, repeated)
        self._outcome.seconds.append(time.monotonic() - began)
        self._outcome.answers.append(answer.status)
        if answer.status == 200 and not self._stage.takes(answer.json["data"]["token"]):
            self._outcome.refused_tokens += 1

    def _look_at_health(self) -> None:
        """Ask for /health, where the fault hangs beside more calls than there are threads."""
        out, waited = self._outcome, list[float]()
        with ThreadPoolExecutor(CALLERS) as pool:
            began = time.monotonic()
            crowd = [pool.submit(self._call, KEY) for _ in range(CALLERS if self._fault.hangs else 0)]
            while len(waited) < 5 or not all(one.done() for one in crowd):
                asked = time.monotonic()
                assert get(self._port, "/health").status == 200
                waited.append(time.monotonic() - asked)
                time.sleep(0.02)
            out.crowd_s = time.monotonic() - began
        answers = [one.result() for one in crowd]
        out.crowd = {answer.status for answer in answers}
        out.bare_503 = len([1 for one in answers if one.status == 503 and "Retry-After" not in one.headers])
        out.health_ms = statistics.median(waited) * 1000

    def _look_at_ready(self) -> None:
        wanted = 503 if self._fault.ready == "down" else 200

        def as_wanted() -> bool:
            answer = get(self._port, "/ready")
            data = answer.json["data"]
            self._outcome.ready = (answer.status, data.get("down", []), data["degraded"])
            return answer.status == wanted and bool(data["degraded"]) == (self._fault.ready == "degraded")

        # An answer is kept for a second.
        until(as_wanted, 3 + self._stage.within_s)

    def _until_ready(self) -> None:
        until(lambda: get(self._port, "/ready").status == 200, 15)

    def _recover(self) -> None:
        out, healed = self._outcome, self._healed

        def answered() -> bool:
            status = self._call(KEY).status
            if status != 200:
                out.while_mending.add(status)
            return status == 200

        def counted() -> bool:
            self._call(KEY)
            told = [line["event"] for line in self._stage.log(self._begin)]
            states = [
                event for event in told if event in ("limits storage down", "limits storage answers again")
            ]
            return not states or states[-1] == "limits storage answers again"

        if until(answered, 20) and (self._fault.where not in LIMITS or until(counted, 20)):
            out.recovered_s = time.monotonic() - healed
        if until(lambda: get(self._port, "/ready").json["data"] == {"degraded": []}, 20):
            out.ready_s = time.monotonic() - healed

    def _look_for_rooms(self, before: set[str]) -> None:
        """Hold the rooms that are there against those that callers know of."""
        out = self._outcome

        def gone() -> bool:
            out.left = self._stage.names(self._number) - before - self._rooms
            return not out.left

        until(gone, 8)
        out.left_s = time.monotonic() - self._healed
        found = self._stage.rooms(self._number)
        out.lost = self._rooms - set(found)
        out.assistants = {found[name] for name in self._rooms & set(found)}

    def _read_log(self) -> None:
        out, stage, begin = self._outcome, self._stage, self._begin
        for line in stage.log(begin):
            if line["level"] in ("warning", "error"):
                names = ("event", "kind", "error", "effect", "backend", "reason", "exception")
                out.told.append(" ".join(str(line[name]) for name in names if name in line))
        content = stage.service.log.read_bytes()[begin:].decode()
        secrets = (CANARY, "c" * 30, "s" * 30, KEY[4:], "eyJ", *stage.secrets())
        out.secrets_told = [secret for secret in secrets if secret in content]


def until(holds: Callable[[], bool], timeout_s: float) -> bool:
    """Ask again and again whether it holds; return whether it did in time."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def measure(stage: Stage, fault: Fault, numbers: Sequence[int]) -> Outcome:
    """Return what was seen of a fault: of the best try where the machine was late, one for each number."""
    for number in numbers:
        outcome = Measuring(stage, fault, number).run()
        unexpected = not set(outcome.answers) <= fault.statuses
        # An answer that ran into the time-out, where it should not have, tells of the machine.
        if outcome.in_time(stage.within_s) and not (unexpected and max(outcome.seconds) >= stage.within_s):
            break
    return outcome


def row(fault: Fault, outcome: Outcome) -> dict[str, Any]:
    """Return what the table says of it."""
    return {
        "where": fault.where,
        "fault": fault.name,
        "answer": fault.answers_in_words,
        "seconds": max(outcome.seconds),
        "ready": fault.ready,
        "left": outcome.left_at_first,
        "left_s": outcome.left_s,
        "recovered_s": outcome.recovered_s,
    }
