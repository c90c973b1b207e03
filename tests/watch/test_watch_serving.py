"""The watcher as a process: what it answers, what it says of itself, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.deployment import ROOT, MakeApp, livekit_environment
from tests.support.fake_livekit import FakeLiveKit
from tests.support.livekit import LiveKitServer
from tests.support.programs import free_port
from tests.support.watch import MakeWatcher, Watching, watcher_for
from tests.support.webhooks import event, signed
from webcall.core.watch.diagnosing import look_at_watcher
from webcall.core.watch.serving import WEBHOOK

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
TOKEN = "metrics-token"


def ask(url: str, authorization: str | None, body: bytes | None = None) -> tuple[int, bytes]:
    headers = {"Authorization": authorization} if authorization is not None else {}
    try:
        with _OPENER.open(urllib.request.Request(url, body, headers), timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def post(watcher: Watching, body: bytes, signature: str | None) -> tuple[int, dict[str, Any]]:
    status, answer = ask(watcher.url + WEBHOOK, signature, body)
    return status, json.loads(answer)


def test_what_it_answers(livekit_server: LiveKitServer, make_watcher: MakeWatcher) -> None:
    """Events are taken once if LiveKit signed them; health and metrics tell of them; it ends at once."""
    watcher = make_watcher()
    told = event("participant_joined", "r1", participant={"identity": "x"})
    body, signature = signed(told, livekit_server.key, livekit_server.secret)
    assert post(watcher, body, signature)[0] == 200
    assert post(watcher, body, signature)[0] == 200
    stale, its = signed(told | {"createdAt": "1", "id": "EV_2"}, livekit_server.key, livekit_server.secret)
    assert post(watcher, stale, its)[0] == 200
    for wrong in (None, "", "x", signature[:-2], signed(told, livekit_server.key, "s" * 40)[1]):
        status, answer = post(watcher, body, wrong)
        assert (status, answer["success"], answer["data"]) == (401, False, {})
    assert post(watcher, body + b" ", signature)[0] == 401
    health = json.loads(watcher.get("/health"))
    assert (health["success"], health["data"]["events"]) == (True, 1)
    assert watcher.count("webcall_watch_events_total") == 1
    assert watcher.count("webcall_watch_last_sweep_age_seconds") < 10
    assert watcher.process is not None
    began = time.monotonic()
    watcher.process.send_signal(signal.SIGTERM)
    assert watcher.process.wait(10) == 0
    assert time.monotonic() - began < 4
    assert watcher.lines("stopped watching")
    assert "Traceback" not in watcher.output()
    assert livekit_server.secret not in watcher.output()


def test_the_age_of_events_goes_by_livekits_clock(
    fake_livekit: FakeLiveKit, make_watcher: MakeWatcher
) -> None:
    """Where LiveKit's clock is ten minutes ahead what happens now by it is taken, and nothing else."""
    fake_livekit.ahead_s = 600
    watcher = make_watcher(fake_livekit)
    watcher.until_log('"clocks differ"')
    for at in (time.time() + 600, time.time()):
        told = event("participant_joined", "r1", participant={"identity": "x"}, createdAt=str(int(at)))
        assert post(watcher, *signed(told, fake_livekit.key, fake_livekit.secret))[0] == 200
        # Taken, the first one; and no second one.
        assert json.loads(watcher.get("/health"))["data"]["events"] == 1


def test_livekit_away_and_back(livekit_binary: Path, make_watcher: MakeWatcher, tmp_path: Path) -> None:
    """A watcher starts without LiveKit, says so once, and goes on when it is there. Metrics want a token."""
    server = LiveKitServer(livekit_binary, tmp_path)
    watcher = watcher_for(server, tmp_path)
    watcher.environment = {**watcher.environment, "WEBCALL_METRICS_TOKEN": TOKEN}
    try:
        watcher.start()
        watcher.until_log("rooms cannot be listed")
        for wrong in (None, "Bearer x", "Bearer \xff", TOKEN):
            assert ask(f"{watcher.url}/metrics", wrong)[0] == 401
        server.start()
        watcher.until_log("rooms can be listed again")
        assert len(watcher.lines("rooms cannot be listed")) == 1
        status, metrics = ask(f"{watcher.url}/metrics", f"Bearer {TOKEN}")
        assert (status, b"webcall_watch_sweeps_total" in metrics) == (200, True)
    finally:
        watcher.stop()
        server.stop()


def test_an_address_in_use_is_one_line(livekit_server: LiveKitServer) -> None:
    """Where something listens on watch.bind, the start ends with one line that names the setting."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("WEBCALL_", "LIVEKIT_"))}
    environment = {
        **own,
        **livekit_environment(livekit_server),
        "WEBCALL_WATCH_BIND": f"127.0.0.1:{livekit_server.port}",
        "WEBCALL_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "webcall", "watch"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line == f"Error: watch.bind: 127.0.0.1:{livekit_server.port}: address already in use"


def test_check_asks_the_watcher(
    make_app: MakeApp, livekit_server: LiveKitServer, make_watcher: MakeWatcher
) -> None:
    """`check` tells a watcher that runs from none, from another deployment's, and from something else."""
    watcher = make_watcher()
    own = livekit_environment(livekit_server)
    elsewhere = {"LIVEKIT_URL": "ws://127.0.0.1:9"}
    for port, changed, status, words in (
        (watcher.port, {}, "ok", "runs: no event of LiveKit so far; the only one"),
        (
            watcher.port,
            {"LIVEKIT_API_KEY": "APIother"},
            "warning",
            "takes no event signed with livekit.api_key",
        ),
        (watcher.port, {"LIVEKIT_API_SECRET": "s" * 40}, "warning", "takes no event signed with"),
        (watcher.port, elsewhere, "warning", f"looks after http://127.0.0.1:{livekit_server.port}, and"),
        (free_port(), {}, "warning", "no watcher answers at"),
        (livekit_server.port, {}, "warning", "is no watcher"),
    ):
        app = make_app({**own, **changed, "WEBCALL_WATCH_BIND": f"127.0.0.1:{port}"})
        [found] = look_at_watcher(app.extensions["webcall"].config)
        assert (found.part, found.status, words in found.message) == ("watch", status, True), found
    health = json.loads(watcher.get("/health"))
    assert health["data"]["events"] == 0, "what check asks is no event"
    assert livekit_server.secret not in str(health)
