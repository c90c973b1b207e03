"""OpenTelemetry traces: what a collector gets of requests, and that nobody is touched without one."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import programs
from tests.support.deployment import API_KEYS, ASSISTANTS, KEY, ROOT, Service, bearer, settings
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL, JSON, at_once, get, send
from tests.support.otlp import Collector, attributes
from webcall.errors import ConfigError
from webcall.startup import prepare

MakeService = Callable[[Mapping[str, str]], Service]

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
CALL_BODY = {"assistant_id": "helper", "metadata": {"customer": {"name": "CANARYname"}, "CANARYkey": 1}}
EVIL = {"User-Agent": "CANARYagent", "X-Request-ID": "CANARYid", "baggage": "CANARY=1", "tracestate": "x=1"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


def log_lines(service: Service, event: str) -> list[dict[str, Any]]:
    lines = [line for line in service.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in map(json.loads, lines) if line["event"] == event]


def test_a_collector_gets_every_request_and_its_stages(
    make_service: MakeService, environment: dict[str, str], fake_livekit: FakeLiveKit, collector: Collector
) -> None:
    """Two workers tell of their requests, below the caller's trace and with nothing of a caller's in it.

    The standard variables hold, the trace id is in the log, and the last spans are sent at the workers' end.
    """
    service = make_service(
        environment
        | {"WEBCALL_TRACES_ENDPOINT": collector.url, "WEBCALL_WORKERS": "2", "OTEL_SERVICE_NAME": "calls"}
        | {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=t1"}
    )
    placed = send(service.port, CALL_BODY, bearer() | JSON | TRACEPARENT | EVIL)
    assert placed.status == 200
    assert send(service.port, {}, bearer("lvk_CANARYwrong") | JSON).status == 401
    fake_livekit.script = lambda exchange: exchange.answer(b"{}", "500 No", "application/json")
    assert send(service.port, CALL_BODY, bearer() | JSON).status == 500
    fake_livekit.script = lambda exchange: exchange.serve()
    get(service.port, "/CANARYpath?CANARY=1")
    send(service.port, method="CANARYMETHOD", path="/CANARYpath")
    for path in ("/health", "/ready", "/metrics"):
        get(service.port, path)
    assert at_once(20, lambda _: send(service.port, CALL_BODY, bearer() | JSON).status) == [200] * 20
    page = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    preflight = send(
        service.port, method="OPTIONS", headers=page | {"Access-Control-Request-Headers": "traceparent"}
    )
    assert "traceparent" in preflight.headers["Access-Control-Allow-Headers"]
    assert collector.raw == [], "nothing is sent before its time"
    service.stop()

    spans = collector.spans()
    roots = {span.span_id: span for _, span in spans if span.kind == span.SPAN_KIND_SERVER}
    assert len(roots) == 26, "each request but those of machines"
    [(resource, own)] = [(resource, span) for resource, span in spans if span.parent_span_id.hex() == PARENT]
    assert (own.trace_id.hex(), own.name) == (TRACE, f"POST {CALL}")
    assert attributes(own) == {
        "http.request.method": "POST",
        "http.route": CALL,
        "http.response.status_code": 200,
    }
    assert (resource["service.name"], collector.headers["x-tenant"]) == ("calls", "t1")
    assert len({resource["process.pid"] for resource, _ in spans}) == 2, "both workers sent theirs"
    stages = [span for _, span in spans if span.parent_span_id == own.span_id]
    assert [span.name for span in sorted(stages, key=lambda span: span.start_time_unix_nano)] == [
        *("authentication", "limits", "store", "livekit")
    ]
    assert all(
        own.start_time_unix_nano <= one.start_time_unix_nano <= own.end_time_unix_nano for one in stages
    )
    assert all(span.parent_span_id in roots for _, span in spans if span.span_id not in roots)

    failed = [span for _, span in spans if span.status.code == span.status.STATUS_CODE_ERROR]
    assert sorted((span.name, attributes(span)["error.type"]) for span in failed) == [
        (f"POST {CALL}", "500"),
        ("livekit", "LiveKitError"),
    ]
    assert {"GET", "_OTHER"} <= {span.name for span in roots.values()}
    secrets = [
        KEY,
        environment["LIVEKIT_API_SECRET"],
        placed.json["data"]["token"],
        "You talk with",
        "CANARY",
    ]
    everything = b"".join(collector.raw)
    assert [one for one in secrets if one.encode() in everything] == []

    [line] = [line for line in log_lines(service, "request") if line["request_id"] == "CANARYid"]
    assert line["trace_id"] == TRACE
    lines = [line for line in log_lines(service, "request") if line["route"] == CALL]
    assert {line["trace_id"] for line in lines} == {
        span.trace_id.hex() for span in roots.values() if span.name.endswith(CALL)
    }
    assert "Traceback" not in service.log.read_text()


def test_a_collector_that_is_down_harms_nothing(
    make_service: MakeService, environment: dict[str, str]
) -> None:
    """Calls are placed, one line tells of it, and the service ends within a few seconds.

    First nobody listens there, then somebody who never answers.
    """
    port = programs.free_port()
    service = make_service(
        environment
        | {"WEBCALL_TRACES_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "20"}
        | {"OTEL_EXPORTER_OTLP_TIMEOUT": "1", "WEBCALL_LIMIT_PER_KEY": "off"}
    )
    until = time.monotonic() + 30
    while not log_lines(service, "traces cannot be sent"):
        assert send(service.port, CALL_BODY, bearer() | JSON).status == 200
        assert time.monotonic() < until
    with socket.create_server(("127.0.0.1", port)) as silent:
        silent.settimeout(30)
        assert at_once(20, lambda _: send(service.port, CALL_BODY, bearer() | JSON).status) == [200] * 20
        connection, _ = silent.accept()
        began = time.monotonic()
        service.stop()
        assert time.monotonic() - began < 9, "SIGKILL would come after ten"
        connection.close()
    assert service.process is not None
    assert service.process.returncode == 0
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    assert len([line for line in lines if line["event"] == "traces cannot be sent"]) == 1
    assert {line["logger"].partition(".")[0] for line in lines} <= {"webcall", "gunicorn"}


def test_without_an_address_there_is_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    """Off, a request imports nothing of OpenTelemetry, starts no thread, and its log line has no trace id."""
    headers = bearer() | TRACEPARENT
    code = f"""import sys, threading, webcall
app = webcall.create_app()
app.extensions["webcall"].warm_up()
answer = app.test_client().post({CALL!r}, json={{"assistant_id": "helper"}}, headers={headers!r})
assert answer.status_code == 200, answer.text
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
assert not [thread for thread in threading.enumerate() if "Otel" in thread.name]
app.extensions["webcall"].close()"""
    known = {"WEBCALL_CONFIG": str(ROOT / "config.yaml")} | environment
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WEBCALL_")}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean | known, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert '"event": "request"' in ran.stderr
    assert "trace_id" not in ran.stderr


@pytest.mark.parametrize(
    ("endpoint", "installed", "told"),
    [
        ("collector:4318", True, "traces.endpoint: not an address such as"),
        ("http://127.0.0.1:4318", False, "traces.endpoint: needs OpenTelemetry: pip install '.[traces]'"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, installed: bool, told: str
) -> None:
    """What is no address, and an address without the extra, are one line each."""
    find = importlib.util.find_spec
    if not installed:
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if "opentelemetry" in name else find(name)
        )
    environ = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "s" * 32}
    environ |= {"WEBCALL_API_KEYS": json.dumps(API_KEYS), "WEBCALL_ASSISTANTS": json.dumps(ASSISTANTS)}
    with pytest.raises(ConfigError) as refused:
        prepare(settings(traces={"endpoint": endpoint}), environ)
    [fault] = refused.value.faults
    assert fault.startswith(told)
