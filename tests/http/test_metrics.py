"""`GET /metrics`: what is counted, for whom, and over several processes."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from tests.support.deployment import ASSISTANTS, KEY, OWNER, MakeApp, Service, bearer
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import CALL, JSON, at_once, get, send
from webcall.core import readiness
from webcall.core.stages import Stage
from webcall.errors import LiveKitFault
from webcall.http import observing
from webcall.serving.door import TURNED_AWAY

HELPER = {"assistant_id": "helper"}
TOKEN = "metrics-token.of~the+tests/1="


class Counts:
    """The samples of an exposition."""

    def __init__(self, text: str) -> None:
        families = text_string_to_metric_families(text)
        self.samples = [sample for family in families for sample in family.samples]

    def of(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of this name that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def scrape(client: FlaskClient, headers: Mapping[str, str] | None = None) -> Counts:
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    return Counts(answer.text)


def test_what_happens_is_counted(
    make_app: MakeApp, environment: dict[str, str], fake_livekit: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests by route and status, durations, refusals by reason, calls, failures, and what is in flight."""
    app = make_app(environment, limits={"per_key": "8/minute"})
    client = app.test_client()

    def call(body: Any, key: str = KEY) -> int:
        return client.post(CALL, json=body, headers=bearer(key)).status_code

    assert [call(HELPER), call(HELPER)] == [200, 200]
    assert [call(HELPER, "lvk_wrong"), call({"assistant_id": "nobody"}), call({})] == [401, 404, 422]
    fake_livekit.script = lambda exchange: exchange.answer(b"{}", "500 No", "application/json")
    assert call(HELPER) == 500
    [(_, validator)] = app.extensions["webcall"].validators()
    with monkeypatch.context() as patched:
        patched.setattr(validator, "validate", lambda _: 1 / 0)
        assert call(HELPER) == 500
    fake_livekit.script = lambda exchange: exchange.serve()
    assert [call(HELPER) for _ in range(4)] == [200, 200, 200, 429]
    client.get("/nowhere/" + "x" * 50)
    with app.extensions["webcall"].gate.enter():
        counts = scrape(client)
    requests = {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for sample in counts.samples
        if sample.name == "webcall_requests_total"
    }
    assert requests == {
        (CALL, "200"): 5,
        (CALL, "401"): 1,
        (CALL, "404"): 1,
        (CALL, "422"): 1,
        (CALL, "429"): 1,
        (CALL, "500"): 2,
        ("none", "404"): 1,
    }
    refused = {
        sample.labels["reason"]: sample.value
        for sample in counts.samples
        if sample.name == "webcall_refused_total" and sample.value
    }
    reasons = {"unauthorized": 1, "unknown_assistant": 1, "invalid": 1, "rate": 1, "failed": 2}
    assert refused == reasons
    assert counts.of("webcall_request_duration_seconds_count", route=CALL) == 11
    assert 0 < counts.of("webcall_request_duration_seconds_sum", route=CALL) < 60
    assert counts.of("webcall_calls_created_total") == 5
    assert counts.of("webcall_livekit_failures_total", kind="answer") == 1
    assert counts.of("webcall_backend_failures_total") == 1
    assert counts.of("webcall_limits_storage_failures_total") == 0
    assert counts.of("webcall_in_flight") == 1
    assert scrape(client).of("webcall_in_flight") == 0


EVIL = 'CANARY"} 1\nCANARY{x="\\'
HEADERS = (
    *("User-Agent", "Origin", "Referer", "X-Request-ID", "X-Forwarded-For", "X-Forwarded-Host", "Accept"),
    *("Idempotency-Key", "X-Sandbox-Id", "Content-Type", "traceparent", "tracestate", "baggage"),
)


def hostile(port: int) -> None:
    """Send requests that try to get something of their own into a label, by every way in."""
    tame = EVIL.replace("\n", "")
    for header in HEADERS:
        send(port, HELPER, bearer() | JSON | {header: tame})
    for key in (tame, f"lvk_{tame}"):
        send(port, HELPER, {"Authorization": f"Bearer {key}"} | JSON)
    for body in (
        *({"assistant_id": EVIL}, {EVIL: EVIL}, {**HELPER, "metadata": {EVIL: EVIL}}),
        *({**HELPER, "text_only": EVIL}, EVIL, EVIL.encode(), b"\xff\x00", None),
    ):
        send(port, body, bearer() | JSON)
    token_source = "/web_call/token_source"
    agent = {"agent_name": EVIL, "metadata": EVIL}
    for body in ({"room_config": {"agents": [agent]}}, {"participant_attributes": {EVIL: EVIL}}):
        send(port, body, bearer() | JSON, path=token_source)
    for path in ("/CANARY", "/metrics?CANARY=1", "/widget.js?CANARY", "/web_call/CANARY", "/static/CANARY"):
        get(port, path)
    send(port, method="GET", path="/web_call/assistants?limit=CANARY&CANARY=1", headers=bearer())
    for method in ("CANARY", "TRACE", "PUT", "OPTIONS"):
        send(port, method=method, path=CALL)
        send(port, method=method, path="/CANARY")
    send(port, b"CANARY", {"Authorization": "CANARY"}, path="/livekit/webhook")


def test_labels_are_nobodys(
    make_service: Callable[[Mapping[str, str]], Service], make_app: MakeApp, environment: dict[str, str]
) -> None:
    """Whatever a request holds, each label has a value of a set that the service or its settings make."""
    service = make_service(environment | {"WEBCALL_WORKERS": "2"})
    for assistant in ASSISTANTS:
        send(service.port, {"assistant_id": assistant["assistant_id"]}, bearer() | JSON)
    hostile(service.port)
    get(service.port, "/ready")
    exposition = get(service.port, "/metrics").body.decode()
    for hidden in (OWNER, KEY[:12], "CANARY"):
        assert hidden not in exposition
    routes = {rule.rule for rule in make_app(environment).url_map.iter_rules()} | {"none", TURNED_AWAY}
    allowed = {
        "route": routes,
        "status": {str(status) for status in (200, 201, 204, 400, 401, 403, 404, 405, 413, 422, 429, 500)},
        "reason": set(observing.ALL_REASONS),
        "kind": set(get_args(LiveKitFault)),
        "stage": set(get_args(Stage)),
        "backend": {"livekit"},
        "version": {importlib.metadata.version("webcall")},
        "python": {platform.python_version()},
    }
    for sample in Counts(exposition).samples:
        for name, value in sample.labels.items():
            assert name == "le" or value in allowed[name], sample
    check_form(exposition)


def check_form(exposition: str) -> None:
    """Have Prometheus' own tool read an exposition, where it is on this machine."""
    if promtool := shutil.which("promtool"):
        told = subprocess.run(
            [promtool, "check", "metrics"], input=exposition, capture_output=True, text=True, timeout=30
        )
        assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_the_token_guards_them(make_app: MakeApp, environment: dict[str, str]) -> None:
    """With http.metrics_token only its bearer sees them; others get the 401 that every route gives."""
    client = make_app(environment, http={"metrics_token": TOKEN}).test_client()
    wrong: list[dict[str, str]] = [
        {},
        bearer(),
        bearer(TOKEN[:-1]),
        bearer(TOKEN + "x"),
        bearer("\u00ff"),
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
    ]
    for headers in wrong:
        answer = client.get("/metrics", headers=headers)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json is not None
        assert answer.json["success"] is False
        assert TOKEN not in answer.text
    assert scrape(client, bearer(TOKEN)).of("webcall_requests_total", status="401") == len(wrong)
    assert client.get(f"/metrics?token={TOKEN}").status_code == 401


def test_metrics_and_keys_are_counted_apart(make_app: MakeApp, environment: dict[str, str]) -> None:
    """Wrong metrics tokens are no guesses at keys, and an address that guessed too much may still scrape."""
    limits = {"failed_auth_per_address": "2/minute"}
    client = make_app(environment, http={"metrics_token": TOKEN}, limits=limits).test_client()
    assert [client.get("/metrics").status_code for _ in range(5)] == [401] * 5
    guesses = [client.post(CALL, headers=bearer("lvk_wrong")).status_code for _ in range(3)]
    assert guesses == [401, 401, 429]
    counts = scrape(client, bearer(TOKEN))
    assert counts.of("webcall_refused_total", reason="unauthorized") == 2, "those of keys alone"
    assert client.post(CALL, headers=bearer(TOKEN)).status_code == 429, "the token is no key"


def worker_pids(service: Service) -> set[int]:
    assert service.process is not None
    pid = service.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_workers_count_together(
    make_service: Callable[[Mapping[str, str]], Service],
    environment: dict[str, str],
    tmp_path: Path,
    fake_livekit: FakeLiveKit,
) -> None:
    """Any worker tells of all; what a dead one counted stays, what it had in flight goes; its files too."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    service = make_service(environment | {"WEBCALL_WORKERS": "3", "TMPDIR": str(folder)})

    def scraped() -> Counts:
        return Counts(get(service.port, "/metrics").body.decode())

    def created() -> tuple[float, float]:
        counts = scraped()
        return counts.of("webcall_calls_created_total"), counts.of("webcall_in_flight")

    def counting() -> set[str]:
        return {path.stem.rpartition("_")[2] for path in shared.glob("*.db")}

    placed = at_once(30, lambda _: send(service.port, HELPER, bearer() | JSON).status)
    assert placed == [200] * 30
    assert {created() for _ in range(12)} == {(30, 0)}
    [shared] = folder.glob("webcall-metrics-*")
    assert len(counting()) > 1, "more than one counted"
    assert scraped().of("webcall_stage_duration_seconds_count", stage="livekit") == 30
    assert scraped().of("webcall_build_info") == 1

    # Calls that hang when their workers are killed.
    fake_livekit.script = lambda _: None
    old = worker_pids(service)
    hanging = at_once_in_background(12, service.port)
    until = time.monotonic() + 20
    # In flight is who has a place; each goes on to the store, and hangs behind it.
    while scraped().of("webcall_stage_duration_seconds_count", stage="store") < 42 or created()[1] < 12:
        assert time.monotonic() < until
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    for thread in hanging:
        thread.join()
    while len(worker_pids(service) - old) < 3 or created() != (30, 0):
        assert time.monotonic() < until
    fake_livekit.script = lambda exchange: exchange.serve()
    assert send(service.port, HELPER, bearer() | JSON).status == 200
    assert created() == (31, 0)

    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    renewed = worker_pids(service)
    while worker_pids(service) & renewed or len(worker_pids(service)) < 3:
        assert time.monotonic() < until + 20
        time.sleep(0.05)
    assert created() == (31, 0)
    assert scraped().of("webcall_stage_duration_seconds_count", stage="store") == 43, "12 of them hung"
    bucket = "webcall_stage_duration_seconds_bucket"
    assert scraped().of(bucket, stage="livekit", le="+Inf") == 31
    assert counting() - {str(pid) for pid in worker_pids(service)} == {"0"}, "the dead are one"
    assert list(folder.glob("webcall-metrics-*")) == [shared]
    service.stop()
    assert not shared.exists()
    assert "Traceback" not in service.log.read_text()


def at_once_in_background(count: int, port: int) -> list[Any]:
    def call() -> None:
        with contextlib.suppress(http.client.HTTPException, OSError):
            send(port, HELPER, bearer() | JSON)

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def test_who_answers_is_seen(
    make_app: MakeApp, environment: dict[str, str], fake_livekit: FakeLiveKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape waits for nobody who hangs, and the next one knows who answers; /ready tells it at once."""
    limits = {"storage_uri": "redis://127.0.0.1:9/0"}
    app = make_app(environment | {"WEBCALL_STORES": "file"}, limits=limits, livekit={"timeout_s": 30})
    client = app.test_client()

    def up() -> dict[str, float]:
        samples = scrape(client).samples
        return {one.labels["backend"]: one.value for one in samples if one.name == "webcall_backend_up"}

    answer = threading.Event()
    fake_livekit.script = lambda exchange: answer.wait(30) and exchange.serve()
    assert up() == {}
    assert up() == {}, "the check hangs, the scrapes do not"
    assert len([one for one in threading.enumerate() if one.name == "who answers"]) == 1
    answer.set()
    until = time.monotonic() + 20
    while (seen := up()) != {"livekit": 1, "file": 1, "limits": 0}:
        assert time.monotonic() < until, seen
        time.sleep(0.01)
    fake_livekit.close()
    monkeypatch.setattr(readiness, "KEPT_S", 0)
    assert client.get("/ready").status_code == 503
    assert up() == {"livekit": 0, "file": 1, "limits": 0}


def test_an_outage_is_counted(make_app: MakeApp, environment: dict[str, str]) -> None:
    """Of a limits' storage that nobody listens at, each count that was not taken is in the metrics."""
    client = make_app(environment, limits={"storage_uri": "redis://127.0.0.1:9/0"}).test_client()
    for _ in range(3):
        assert client.get("/web_call/assistants", headers=bearer()).status_code == 200
    assert scrape(client).of("webcall_limits_storage_failures_total") == 3
    assert json.loads(client.get("/health").text)["success"] is True
