"""The worker as a process: its start, its limits, its stop, and what becomes of calls then."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from livekit import rtc

from tests.support.calls import PlacedCall, place_call
from tests.support.deployment import ROOT, MakeApp, livekit_environment
from tests.support.livekit import LiveKitServer
from tests.support.person import joined
from tests.support.programs import free_port
from tests.support.worker import MakeWorker, WorkerProcess
from webcall.core.worker_here import look_at_worker
from webcall.core.worker_metrics import MOST_CALLS

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(port: int, path: str) -> str:
    with _OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def test_calls_go_to_a_worker_that_has_room(livekit_server: LiveKitServer, make_worker: MakeWorker) -> None:
    """Two workers with room for one call take one each; a third is refused, and taken once there is room."""
    first = make_worker({"WEBCALL_WORKER_MAX_CALLS": "1"})
    twins = [first, make_worker({"WEBCALL_WORKER_MAX_CALLS": "1"}, agent_name=first.agent_name)]

    def place() -> PlacedCall:
        return place_call(livekit_server, agent_name=first.agent_name, text_only=True)

    def taken(call: PlacedCall) -> list[WorkerProcess]:
        return [one for one in twins if one.lines("call begins", call.room_name)]

    async def talk() -> None:
        calls = [place(), place()]
        async with joined(calls[0]) as one, joined(calls[1]) as two:
            await one.until(one.words)
            await two.until(two.words)
            assert taken(calls[0]) != taken(calls[1])
            refused = place()
            for twin in twins:
                await asyncio.to_thread(twin.until_line, "call refused", "")
                state = json.loads(get(twin.health_port, "/worker"))
                assert state["active_jobs"] == 1
                # Above 0.7 LiveKit would offer nothing, and nobody would be told.
                assert 0.5 < state["worker_load"] < 0.7
            assert not taken(refused)
            assert await one.reply_to("repeat after me still fine") == "still fine"
            await one.type("", "webcall.bye")
            await one.until_closed()
            (free,) = taken(calls[0])
            # LiveKit hears of the free place when the call's process has ended.
            await two.until(lambda: json.loads(get(free.health_port, "/worker")).get("active_jobs", 0) == 0)
            next_call = place()
            async with joined(next_call) as three:
                await three.until(three.words)
                assert taken(next_call) == [free]

    asyncio.run(talk())


def test_sigterm_lets_calls_go_on_for_a_while(livekit_server: LiveKitServer, make_worker: MakeWorker) -> None:
    """After SIGTERM a call goes on for the drain time and ends with words; new ones go elsewhere."""
    # Long enough for a new call to begin meanwhile on a busy machine.
    first = make_worker({"WEBCALL_WORKER_DRAIN_S": "20"})

    async def talk() -> None:
        async with (
            joined(place_call(livekit_server, agent_name=first.agent_name, text_only=True)) as one,
            joined(place_call(livekit_server, agent_name=first.agent_name)) as two,
        ):
            await one.until(one.words)
            await two.until(two.words)
            second = await asyncio.to_thread(make_worker, agent_name=first.agent_name)
            assert first.process is not None
            first.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(first.until_log, '"stopping"')
            later = place_call(livekit_server, agent_name=first.agent_name, text_only=True)
            async with joined(later) as three:
                await three.until(three.words)
                assert second.lines("call begins", later.room_name)
                assert await one.reply_to("repeat after me still here") == "still here"
                for person in (one, two):
                    assert await person.until_closed(40) == rtc.DisconnectReason.ROOM_DELETED
                    assert person.notices() == ["shutting_down"]
                assert await asyncio.to_thread(first.process.wait, 20) == 0
                assert await three.reply_to("repeat after me me too") == "me too"

    asyncio.run(talk())
    assert "Traceback" not in first.output()


def test_a_worker_that_stops_leaves_waiting_rooms(
    livekit_server: LiveKitServer, make_worker: MakeWorker
) -> None:
    """A token goes on meeting its room, though the assistant that waits there has to leave."""
    worker = make_worker()
    call = place_call(livekit_server, agent_name=worker.agent_name)
    worker.until_line("call begins", call.room_name)
    assert worker.process is not None
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    assert [one["why"] for one in worker.lines("call ends", call.room_name)] == ["stopped from outside"]

    async def come() -> None:
        async with joined(call) as person:
            assert person.room.name == call.room_name
            assert not person.assistants

    asyncio.run(come())


def test_a_crash_touches_no_other_call(livekit_server: LiveKitServer, worker: WorkerProcess) -> None:
    """When one call's process is killed, the others go on, and the worker takes the next call."""

    async def talk() -> None:
        calls = [place_call(livekit_server, agent_name=worker.agent_name, text_only=True) for _ in range(2)]
        async with joined(calls[0]) as one, joined(calls[1]) as two:
            await one.until(one.words)
            await two.until(two.words)
            (line,) = worker.lines("call begins", calls[0].room_name)
            process = psutil.Process(line["pid"])
            process.kill()
            await asyncio.to_thread(process.wait, 10)
            assert await two.reply_to("repeat after me not me") == "not me"
            async with joined(
                place_call(livekit_server, agent_name=worker.agent_name, text_only=True)
            ) as new:
                await new.until(new.words)

    asyncio.run(talk())


def test_check_knows_whose_worker_it_is(
    livekit_server: LiveKitServer, worker: WorkerProcess, make_app: MakeApp
) -> None:
    """`flask webcall check` asks the worker at its ports: its own one, another's, and none at all."""
    ours = livekit_environment(livekit_server) | {"LIVEKIT_AGENT_NAME": worker.agent_name}
    there: dict[str, object] = {"health_port": worker.health_port, "metrics_port": worker.metrics_port}

    def look(changed: dict[str, str], ports: dict[str, object]) -> list[tuple[str, str]]:
        config = make_app(ours | changed, worker=ports).extensions["webcall"].config
        return [(one.status, one.message) for one in look_at_worker(config)]

    at = f"the one at http://127.0.0.1:{worker.health_port}"
    [(status, message)] = look({}, there)
    assert (status, message.startswith(f"{at} answers as '{worker.agent_name}', and takes ")) == ("ok", True)
    [(status, message)] = look({"LIVEKIT_AGENT_NAME": "else"}, there)
    assert status == "warning"
    assert message == f"{at} is registered as '{worker.agent_name}', and livekit.agent_name is 'else' here"
    [(status, message)] = look({"LIVEKIT_URL": "wss://livekit.example.com"}, there)
    assert status == "warning"
    assert message.endswith(", and livekit.url is https://livekit.example.com here")
    [(status, message)] = look({}, {"health_port": free_port(), "metrics_port": 0})
    assert (status, message.startswith("none answers at http://127.0.0.1:")) == ("warning", True)
    # Another program's answers are no worker's.
    [(status, message)] = look({}, {"health_port": worker.metrics_port, "metrics_port": 0})
    assert (status, message.startswith("none answers at http://127.0.0.1:")) == ("warning", True)
    assert look({}, {"health_port": 0}) == []


def test_health_and_metrics_answer_on_loopback_only(worker: WorkerProcess) -> None:
    """Health, load and Prometheus metrics answer on the loopback address, and nothing listens elsewhere."""
    assert get(worker.health_port, "/") == "OK"
    assert json.loads(get(worker.health_port, "/worker"))["agent_name"] == worker.agent_name
    assert "lk_agents" in get(worker.metrics_port, "/metrics")
    [line] = [one for one in get(worker.metrics_port, "/metrics").splitlines() if one.startswith(MOST_CALLS)]
    assert float(line.split()[1]) >= 1
    assert worker.process is not None
    main = psutil.Process(worker.process.pid)
    listening = {
        one.laddr.ip
        for process in (main, *main.children(recursive=True))
        for one in process.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_waits_for_livekit(livekit_binary: Path, make_worker: MakeWorker, tmp_path: Path) -> None:
    """A worker that starts before LiveKit takes calls when it is there, and again after LiveKit's restart."""
    (tmp_path / "livekit").mkdir()
    server = LiveKitServer(livekit_binary, tmp_path / "livekit")
    worker = make_worker(server=server, wait=False)
    try:
        worker.until_log("failed to connect to livekit")
        server.start()
        worker.until_log("worker registered")
        server.stop()
        server.start()
        worker.until_log("worker registered", times=2)

        async def talk() -> None:
            async with joined(place_call(server, agent_name=worker.agent_name, text_only=True)) as person:
                await person.until(person.words)

        asyncio.run(talk())
    finally:
        server.stop()


def run(environment: dict[str, str], code: str = "") -> tuple[int, str]:
    """Start the worker, which is to fail; return its status and its output."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("WEBCALL_", "LIVEKIT_"))
    }
    ended = subprocess.run(
        [sys.executable, *(("-c", code) if code else ("-m", "webcall.worker", "start"))],
        cwd=ROOT,
        env={**clean, "WEBCALL_CONFIG": str(ROOT / "config.yaml"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stdout


def test_wrong_credentials_are_one_line(livekit_server: LiveKitServer) -> None:
    """A key or secret that LiveKit refuses ends the start with status 2 and one line that holds neither."""
    secret = "s" * 40
    status, output = run({**livekit_environment(livekit_server), "LIVEKIT_API_SECRET": secret})
    assert status == 2
    assert output.count("\n") == 1
    assert output.startswith("livekit.api_key, livekit.api_secret: ")
    assert secret not in output


_WITHOUT = """
import sys
sys.modules["{name}"] = None
from webcall.worker.__main__ import main
sys.exit(main(["start"]))
"""


@pytest.mark.parametrize("name", ["livekit.agents", "limits", "psutil"])
def test_a_missing_package_is_one_line(name: str) -> None:
    """Without what the extra brings the start ends with status 2 and one line that says how to install it."""
    environment = {
        "LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "s" * 32,
    }
    status, output = run(environment, _WITHOUT.format(name=name))
    assert (status, output.count("\n")) == (2, 1), output
    assert name in output
    assert ".venv/bin/pip install '.[worker]'" in output


def test_faults_of_settings_and_of_usage() -> None:
    """Settings that are wrong are told one line each, and any other argument than start is told the usage."""
    status, output = run({"LIVEKIT_API_KEY": "key"})
    assert status == 2
    assert "livekit.api_secret" in output
    assert "Traceback" not in output
    status, output = run({}, "import sys; from webcall.worker.__main__ import main; sys.exit(main(['dev']))")
    assert (status, output) == (2, "usage: python -m webcall.worker start\n")


_SETTINGS = """
import sys
sys.modules["redis"] = None
from webcall.startup import settings_only
print(settings_only().livekit.api_key)
"""


def test_settings_of_the_service_may_want_what_a_worker_has_not() -> None:
    """The service's variables do for a worker on another machine, without Redis' package and its secrets."""
    wanted = {"WEBCALL_LIMITS_STORAGE": "redis://127.0.0.1:6379/0", "WEBCALL_VALIDATORS": "mongo"}
    wanted |= {f"{name}_FILE": "/nowhere/secret" for name in ("WEBCALL_METRICS_TOKEN", "MONGODB_URI")}
    status, output = run({"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32, **wanted}, _SETTINGS)
    assert (status, output) == (0, "key\n")
    misspelt = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32, "WEBCALL_LOG_LEVEL": "loud"}
    status, output = run(misspelt)
    assert status == 2
    assert output.startswith("log.level: ")


def test_an_address_that_is_not_to_be_had_is_one_line(worker: WorkerProcess) -> None:
    """A line names the setting, and the status is 1, so that systemd tries again: 2 is for wrong settings."""
    environment = {**worker.environment, "WEBCALL_WORKER_METRICS_PORT": str(free_port())}
    status, output = run(environment | {"WEBCALL_WORKER_HEALTH_PORT": str(worker.health_port)})
    assert status == 1
    assert output.splitlines()[-1].startswith("worker.health_port, worker.metrics_port: 127.0.0.1, ")
    assert "Traceback" not in output
    elsewhere = {"WEBCALL_WORKER_HOST": "192.0.2.1", "WEBCALL_WORKER_HEALTH_PORT": str(free_port())}
    status, output = run(environment | elsewhere)
    assert status == 1
    assert output.splitlines()[-1].startswith("worker.host: 192.0.2.1: ")
    assert "Traceback" not in output


def test_a_model_that_nobody_can_run_is_told_at_the_start(
    make_worker: MakeWorker, make_app: MakeApp, livekit_server: LiveKitServer
) -> None:
    """A misspelt WEBCALL_LLM is a line of the worker, and a finding of `check`, before anybody calls."""
    misspelt = {"WEBCALL_LLM": "opnai/gpt"}
    started = make_worker(misspelt)
    [line] = [json.loads(text) for text in started.output().splitlines() if '"model unusable"' in text]
    assert line["reason"].startswith("worker.llm: opnai is none of ")
    ports = {
        "WEBCALL_WORKER_HEALTH_PORT": str(started.health_port),
        "WEBCALL_WORKER_METRICS_PORT": str(started.metrics_port),
        "LIVEKIT_AGENT_NAME": started.agent_name,
    }
    app = make_app(livekit_environment(livekit_server) | misspelt | ports)
    first, *others = look_at_worker(app.extensions["webcall"].config)
    assert first.status == "ok"
    assert [found.message for found in others] == [line["reason"]]
