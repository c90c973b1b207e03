"""Observers: told off the request's way, each by itself, in order, and never in the way of anything."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

import plugins.audit
import webcall
from tests.support.deployment import (
    KEY,
    OWNER,
    ROOT,
    MakeApp,
    bearer,
    livekit_environment,
    settings,
    store_records,
)
from tests.support.livekit import LiveKitServer
from webcall import logs
from webcall.config import LogConfig
from webcall.core.observers import CREATED, REFUSED, Observer, Observers
from webcall.observed import CreatedCall, RefusedCall

REFUSAL = RefusedCall("rate", 429, OWNER, "lvk_1", "helper", "id", datetime.now(UTC))


@pytest.fixture(autouse=True)
def _logs() -> None:
    logs.configure(LogConfig("info", "json"))


def created(room: str) -> CreatedCall:
    return CreatedCall(room, "helper", OWNER, "lvk_1", False, False, "id", datetime.now(UTC))


def wait_for(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 5
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_events_come_in_order_and_with_the_arguments_of_the_hooks() -> None:
    """An observer hears every event in the order in which it came, in a thread that is not the caller's."""
    heard: list[Any] = []
    threads: set[int] = set()

    def on_created(call: CreatedCall) -> None:
        threads.add(threading.get_ident())
        heard.append(call.room_name)

    def on_refused(reason: str, call: RefusedCall) -> None:
        heard.append((reason, call.status))

    observers = Observers([Observer("a", {CREATED: on_created, REFUSED: on_refused})])
    for number in range(100):
        observers.created(created(f"room-{number}"))
    observers.refused(REFUSAL)
    observers.close()
    assert heard == [*(f"room-{number}" for number in range(100)), ("rate", 429)]
    assert threads
    assert threading.get_ident() not in threads


def test_failing_and_hanging_observers_touch_nobody_else() -> None:
    """One that raises and one that hangs leave the third told of everything; what is lost is counted."""
    hanging = threading.Event()
    told: list[str] = []
    counts: Counter[tuple[str, str]] = Counter()

    def fail(call: CreatedCall) -> None:
        raise ValueError(call.room_name)

    observers = Observers(
        [
            Observer("fails", {CREATED: fail}),
            Observer("hangs", {CREATED: lambda call: hanging.wait(30)}),
            Observer("good", {CREATED: lambda call: told.append(call.room_name)}),
        ],
        max_waiting=5,
        count=lambda plugin, result: counts.update([(plugin, result)]),
    )
    began = time.monotonic()
    for number in range(20):
        observers.created(created(f"room-{number}"))
        wait_for(lambda number=number: len(told) == number + 1)
    # One is with the hanging observer, five wait.
    assert counts["hangs", "dropped"] == 14
    wait_for(lambda: counts["fails", "failed"] == 20)
    wait_for(lambda: counts["good", "told"] == 20)
    assert time.monotonic() - began < 5
    hanging.set()
    observers.close()


def test_end_of_the_process_waits_for_a_hanging_observer_two_seconds_at_most() -> None:
    """Closing gives up on an observer that hangs."""
    hanging = threading.Event()
    observers = Observers([Observer("hangs", {CREATED: lambda call: hanging.wait(30)})])
    observers.created(created("room"))
    began = time.monotonic()
    observers.close()
    assert time.monotonic() - began < 3
    hanging.set()


@pytest.fixture
def spying() -> Iterator[types.ModuleType]:
    """A plugin that keeps what it is told, beside one whose hook raises."""
    spy, bad = types.ModuleType("spy_plugin"), types.ModuleType("bad_plugin")
    spy.heard = []  # type: ignore[attr-defined]

    @webcall.hookimpl
    def webcall_call_created(call: CreatedCall) -> None:
        spy.heard.append(call)

    @webcall.hookimpl
    def webcall_call_refused(reason: str, call: RefusedCall) -> None:
        spy.heard.append((reason, call))

    spy.webcall_call_created, spy.webcall_call_refused = webcall_call_created, webcall_call_refused  # type: ignore[attr-defined]

    @webcall.hookimpl(specname="webcall_call_created")
    def always_fails(call: CreatedCall) -> None:
        raise RuntimeError(call.owner)

    bad.always_fails = always_fails  # type: ignore[attr-defined]
    sys.modules |= {"spy_plugin": spy, "bad_plugin": bad}
    yield spy
    del sys.modules["spy_plugin"], sys.modules["bad_plugin"]


@pytest.fixture
def client(
    spying: types.ModuleType,
    make_app: MakeApp,
    livekit_server: LiveKitServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> FlaskClient:
    """The sample deployment with both plugins."""
    environment = livekit_environment(livekit_server) | store_records("file", tmp_path, request)
    names = ["bad_plugin", *settings()["plugins"], "spy_plugin"]
    return make_app(environment, plugins=names).test_client()


def test_service_tells_of_calls_and_refusals(spying: types.ModuleType, client: FlaskClient) -> None:
    """Placed and refused requests reach a plugin with who, what and why, beside another that raises."""
    placed = client.post("/web_call/get_token", headers=bearer(), json={"assistant_id": "helper"})
    client.post("/web_call/get_token", headers=bearer("wrong"), json={"assistant_id": "helper"})
    client.post("/web_call/get_token", headers=bearer(), json={"assistant_id": "nobody"})
    client.post("/web_call/get_token", headers=bearer(), data="{")
    client.get("/health")
    wait_for(lambda: len(spying.heard) == 4)
    failed = 'webcall_observer_events_total{plugin="bad_plugin",result="failed"} 1.0'
    wait_for(lambda: failed in client.get("/metrics").text)
    dropped = 'webcall_observer_events_total{plugin="spy_plugin",result="dropped"} 0.0'
    assert dropped in client.get("/metrics").text
    call, *refusals = spying.heard
    assert (call.room_name, call.assistant_id, call.owner) == (
        placed.json["data"]["room_name"],
        "helper",
        OWNER,
    )
    assert call.key_id == KEY[:12]
    assert call.request_id == placed.headers["X-Request-ID"]
    assert [(reason, one.status, one.owner, one.assistant_id) for reason, one in refusals] == [
        ("unauthorized", 401, None, None),
        ("unknown_assistant", 404, OWNER, "nobody"),
        ("invalid", 422, OWNER, None),
    ]


def test_key_in_place_of_an_assistant_is_blotted_out(spying: types.ModuleType, client: FlaskClient) -> None:
    """A key that a caller puts into assistant_id does not reach an observer."""
    client.post("/web_call/get_token", headers=bearer(), json={"assistant_id": KEY})
    wait_for(lambda: spying.heard)
    [(reason, refusal)] = spying.heard
    assert (reason, refusal.assistant_id) == ("unknown_assistant", "[key]")


def test_audit_plugin_appends_lines(
    make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The example plugin writes a line of JSON for each event, readable by its owner only."""
    path = tmp_path / "audit.jsonl"
    environment = livekit_environment(livekit_server) | store_records("file", tmp_path, request)
    app = make_app(
        environment | {"WEBCALL_AUDIT_FILE": str(path)},
        plugins=[*settings()["plugins"], "plugins.audit"],
    )
    client = app.test_client()
    client.post("/web_call/get_token", headers=bearer(), json={"assistant_id": "helper"})
    client.post("/web_call/get_token", json={})
    app.extensions["webcall"].close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["owner"]) for line in lines] == [("created", OWNER), ("refused", None)]
    assert lines[1]["reason"] == "unauthorized"
    assert path.stat().st_mode & 0o777 == 0o600
    assert KEY not in path.read_text()
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    shown = json.loads(page.partition("<!-- audit -->\n```json\n")[2].partition("\n```")[0])
    assert list(shown) == list(lines[0])


def test_a_line_that_does_not_fit_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a part of a line finds room on the disk, the event counts as lost, and the next line is whole."""
    path = tmp_path / "audit.jsonl"
    # So large that the limit below is none for whatever else this process writes meanwhile.
    path.write_bytes(b" " * 2**20 + b"\n")
    monkeypatch.setenv("WEBCALL_AUDIT_FILE", str(path))
    told: list[str] = []
    observers = Observers(
        [Observer("audit", {CREATED: plugins.audit.webcall_call_created})],
        count=lambda _, result: told.append(result),
    )
    _, most = limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def tell(room: str) -> None:
        before = len(told)
        observers.created(created(room))
        wait_for(lambda: len(told) > before)

    tell("first")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, most))
        tell("lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    tell("last")
    observers.close()
    assert told == ["told", "failed", "told"]
    rooms = [json.loads(line)["room_name"] for line in path.read_text().splitlines()[1:]]
    assert rooms == ["first", "last"]


def test_nobody_else_writes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a line is written the file is this process's: what it takes back is no other's line."""
    path = tmp_path / "audit.jsonl"
    monkeypatch.setenv("WEBCALL_AUDIT_FILE", str(path))
    write = os.write

    def look(descriptor: int, content: bytes) -> int:
        with path.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", look)
    plugins.audit.webcall_call_created(created("first"))
    assert json.loads(path.read_text())["room_name"] == "first"


def test_reason_of_an_observer_that_fails_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What a plugin raises for the operator's log is there in its words; of anything else only the type."""

    def fail(call: CreatedCall) -> None:
        raise ValueError("canary")

    def lines(observer: Observer) -> list[dict[str, Any]]:
        caplog.clear()
        observers = Observers([observer])
        observers.created(created("room"))
        observers.close()
        return [record.msg for record in caplog.records if isinstance(record.msg, dict)]

    audit = Observer("audit", {CREATED: plugins.audit.webcall_call_created})
    monkeypatch.delenv("WEBCALL_AUDIT_FILE", raising=False)
    assert [line["error"] for line in lines(audit)] == ["WEBCALL_AUDIT_FILE names no file"]
    monkeypatch.setenv("WEBCALL_AUDIT_FILE", str(tmp_path / "missing" / "audit.jsonl"))
    [line] = lines(audit)
    assert line["error"] == "WEBCALL_AUDIT_FILE cannot be written: No such file or directory"
    monkeypatch.setenv("WEBCALL_AUDIT_FILE", "/dev/full")
    [line] = lines(audit)
    assert line["error"] == "WEBCALL_AUDIT_FILE cannot be written: No space left on device"
    [line] = lines(Observer("other", {CREATED: fail}))
    assert line["exception"] == ["ValueError"]
    assert "canary" not in str(line)
