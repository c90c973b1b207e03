"""Every fault of the suite, and what the service is to make of it. docs/reliability.md tells them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.faults import answers
from tests.faults.stages import Stage
from tests.support.fake_livekit import Exchange
from tests.support.toxiproxy import FORGET, HANG_UP

Ready = Literal["ok", "degraded", "down"]
LIVEKIT, ANSWERS, CLOCK = "LiveKit", "LiveKit's answers", "Clock"
MONGO, REDIS, REQUIRED = "MongoDB", "Redis", "Redis, required"
POSTGRES, HTTP = "PostgreSQL", "http"
LIMITS = (REDIS, REQUIRED)


@dataclass(frozen=True)
class Fault:
    """A fault: on which stage, how it is made, and what callers and operators are to see.

    `answer` is the first call's status in it, `then` that of later ones where it differs. `told` is a
    pattern of the log line that names the culprit. `hangs`: /health is asked beside a crowd of calls.
    `from_start`: the service is started in it, so that nothing is known from before. `unhurried` is every
    call's status with the settings' own time-outs, where these leave time for another try.
    """

    where: str
    name: str
    make: Callable[[Stage], None]
    answer: int
    told: str = ""
    ready: Ready = "down"
    then: int | None = None
    hangs: bool = False
    from_start: bool = False
    unhurried: int | None = None

    @property
    def id(self) -> str:
        """What tests and the table call it."""
        return f"{self.where}: {self.name}"

    @property
    def answers_in_words(self) -> str:
        """What the table says of the answers."""
        if self.unhurried is not None:
            return str(self.unhurried)
        return str(self.answer) if self.then is None else f"{self.answer}, then {self.then}"

    @property
    def statuses(self) -> set[int]:
        """Those that calls may get while it lasts."""
        return {self.answer, self.answer if self.then is None else self.then}


def refused(stage: Stage) -> None:
    assert stage.line
    stage.line.cut()


def black_hole(stage: Stage) -> None:
    assert stage.line
    stage.line.spoil("timeout", "upstream", timeout=0)
    stage.line.spoil("timeout", timeout=0)


def slow(stage: Stage) -> None:
    """Answers come late, and in time: a new connection's greeting may take several of them."""
    assert stage.line
    stage.line.spoil("latency", latency=int(stage.within_s * 100))


def too_slow(stage: Stage) -> None:
    assert stage.line
    stage.line.spoil("latency", latency=int(stage.within_s * 2000))


def drip(stage: Stage) -> None:
    """A byte comes every 50 ms, at most, and two seconds after the timeout the rest is still to come."""
    assert stage.line
    stage.line.spoil("slicer", average_size=1, size_variation=0, delay=50_000)


def reset(stage: Stage) -> None:
    """Some bytes of an answer come, and then a reset."""
    assert stage.line
    stage.line.spoil("slicer", average_size=1, size_variation=0, delay=10_000)
    stage.line.spoil("reset_peer", timeout=100)


def cut_short(stage: Stage) -> None:
    """The connection is closed after the first bytes of an answer."""
    assert stage.line
    stage.line.spoil("limit_data", bytes=20)
    stage.line.relay.do_with_kept(HANG_UP)


def half_open(stage: Stage) -> None:
    """Nobody is at the other end of kept connections any more; new ones are well."""
    assert stage.line
    stage.line.relay.do_with_kept(FORGET)


def closed_idle(stage: Stage) -> None:
    assert stage.line
    stage.line.cut()
    stage.line.heal()


def closed_in_use(stage: Stage) -> None:
    """Kept connections are closed at the moment at which they are used."""
    assert stage.line
    stage.line.relay.do_with_kept(HANG_UP)


def saying(answer: bytes) -> Callable[[Stage], None]:
    """Let whatever is asked be answered with these bytes."""

    def make(stage: Stage) -> None:
        assert stage.line
        stage.line.relay.do_with_all(answer)

    return make


def name(state: str) -> Callable[[Stage], None]:
    """Let the neighbour's name have that state when the service starts."""

    def make(stage: Stage) -> None:
        stage.resolve(state)
        stage.start()

    return make


def clock(off_s: int) -> Callable[[Stage], None]:
    return lambda stage: stage.set_clock(off_s)


def livekit_says(script: Callable[[Exchange], None]) -> Callable[[Stage], None]:
    """Let LiveKit's stand-in answer so."""

    def make(stage: Stage) -> None:
        stage.livekit.script = script  # type: ignore[union-attr]

    return make


def _livekit() -> list[Fault]:
    failed, unknown, silent = "livekit failed ", name("fails"), name("hangs")
    return [
        Fault(LIVEKIT, "refused", refused, 500, failed + "unreachable"),
        Fault(LIVEKIT, "black hole", black_hole, 500, failed + "timeout", hangs=True),
        Fault(LIVEKIT, "slow, within the timeout", slow, 200, ready="ok"),
        Fault(LIVEKIT, "slower than the timeout", too_slow, 500, failed + "timeout", hangs=True),
        Fault(LIVEKIT, "a byte at a time", drip, 500, failed + "timeout", hangs=True),
        Fault(LIVEKIT, "reset in mid-answer", reset, 500, failed + "broken"),
        Fault(LIVEKIT, "closed in mid-answer", cut_short, 500, failed + "(broken|answer)"),
        # Of a time-out of 5 s there is enough left for another try.
        Fault(LIVEKIT, "half-open connections", half_open, 500, failed + "timeout", "ok", 200, unhurried=200),
        Fault(LIVEKIT, "idle connections closed", closed_idle, 200, ready="ok"),
        Fault(LIVEKIT, "connections closed as they are used", closed_in_use, 200, ready="ok"),
        Fault(LIVEKIT, "its name is not known", unknown, 500, failed + "unreachable", from_start=True),
        Fault(LIVEKIT, "DNS does not answer", silent, 500, failed + "timeout", hangs=True, from_start=True),
    ]


def _answers() -> list[Fault]:
    return [
        Fault(
            ANSWERS,
            told,
            livekit_says(script),
            500,
            f"livekit failed {kind}",
            # To a question for rooms an empty answer is a good one: none of them lives.
            ready="ok" if told == "an empty answer" else "down",
        )
        for told, (script, kind) in answers.OF_LIVEKIT.items()
    ]


def _mongo() -> list[Fault]:
    failed = "backend failed MongoDB at "
    return [
        Fault(MONGO, "refused", refused, 500, failed),
        Fault(MONGO, "black hole", black_hole, 500, failed, hangs=True),
        Fault(MONGO, "slow, within the timeout", slow, 200, ready="ok"),
        Fault(MONGO, "slower than the timeout", too_slow, 500, failed, hangs=True),
        Fault(MONGO, "a byte at a time", drip, 500, failed, hangs=True),
        Fault(MONGO, "reset in mid-answer", reset, 500, failed),
        Fault(MONGO, "half-open connections", half_open, 500, failed, then=200, ready="ok"),
        Fault(MONGO, "idle connections closed", closed_idle, 200, ready="ok"),
        Fault(MONGO, "connections closed as they are used", closed_in_use, 200, ready="ok"),
        Fault(MONGO, "garbage", saying(b"\x00garbage\r\n" * 4), 500, failed),
        Fault(MONGO, "its name is not known", name("fails"), 500, failed, from_start=True),
        Fault(MONGO, "DNS does not answer", name("hangs"), 500, failed, hangs=True, from_start=True),
    ]


def _redis() -> list[Fault]:
    failed = "limits storage down"
    passes = [
        ("refused", refused, {}),
        ("black hole", black_hole, {"hangs": True}),
        ("slower than the timeout", too_slow, {"hangs": True}),
        ("a byte at a time", drip, {"hangs": True}),
        ("reset in mid-answer", reset, {}),
        ("garbage", saying(b"garbage\r\n"), {}),
        ("busy loading its data", saying(b"-LOADING Redis is loading the dataset in memory\r\n"), {}),
        ("its name is not known", name("fails"), {"from_start": True}),
        ("DNS does not answer", name("hangs"), {"hangs": True, "from_start": True}),
    ]
    return [
        *(Fault(REDIS, told, make, 200, failed, "degraded", **more) for told, make, more in passes),  # type: ignore[arg-type]
        Fault(REDIS, "slow, within the timeout", slow, 200, ready="ok"),
        Fault(REDIS, "half-open connections", half_open, 200, failed, "ok"),
        Fault(REDIS, "idle connections closed", closed_idle, 200, ready="ok"),
        Fault(REDIS, "connections closed as they are used", closed_in_use, 200, ready="ok"),
        Fault(REQUIRED, "refused", refused, 503, failed),
        Fault(REQUIRED, "black hole", black_hole, 503, failed, hangs=True),
    ]


def _others() -> list[Fault]:
    sql, http = "backend failed sql: ", "backend failed http: "
    return [
        Fault(POSTGRES, "refused", refused, 500, sql),
        Fault(POSTGRES, "black hole", black_hole, 500, sql, hangs=True),
        Fault(POSTGRES, "slower than the timeout", too_slow, 500, sql, hangs=True),
        Fault(POSTGRES, "reset in mid-answer", reset, 500, sql),
        Fault(POSTGRES, "half-open connections", half_open, 500, sql, then=200, ready="ok"),
        Fault(POSTGRES, "connections closed as they are used", closed_in_use, 200, ready="ok"),
        Fault(POSTGRES, "garbage", saying(b"garbage\r\n"), 500, sql),
        Fault(POSTGRES, "its name is not known", name("fails"), 500, sql, from_start=True),
        Fault(POSTGRES, "DNS does not answer", name("hangs"), 500, sql, hangs=True, from_start=True),
        Fault(HTTP, "refused", refused, 500, http),
        Fault(HTTP, "black hole", black_hole, 500, http, hangs=True),
        Fault(HTTP, "slower than the timeout", too_slow, 500, http, hangs=True),
        Fault(HTTP, "reset in mid-answer", reset, 500, http),
        Fault(HTTP, "half-open connections", half_open, 500, http, then=200, ready="ok"),
        Fault(HTTP, "connections closed as they are used", closed_in_use, 200, ready="ok"),
        Fault(HTTP, "a proxy's 502", saying(answers.BAD_GATEWAY), 500, http + "answered 502"),
        Fault(HTTP, "a proxy's 404", saying(answers.NOT_FOUND), 500, http + "answered 404"),
        Fault(HTTP, "its name is not known", name("fails"), 500, http, from_start=True),
        Fault(HTTP, "DNS does not answer", name("hangs"), 500, http, hangs=True, from_start=True),
    ]


def _clock() -> list[Fault]:
    return [
        Fault(
            CLOCK,
            "the service's is 10 minutes ahead",
            clock(600),
            500,
            "unauthorized .*its clock is -\\d+ s off",
        ),
        Fault(CLOCK, "the service's is 10 minutes behind", clock(-600), 200, "clocks differ", "degraded"),
    ]


FAULTS: list[Fault] = [*_livekit(), *_answers(), *_clock(), *_mongo(), *_redis(), *_others()]
