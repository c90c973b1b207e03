"""`make run`: the supervisor for real, on free ports, with its data in a folder of the test."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.support import programs
from tests.support.livekit import LiveKitServer
from tests.support.make_run import (
    MakeRun,
    assert_call_works,
    command_line,
    curl_line,
    in_second_terminal,
    paste,
)

pytestmark = pytest.mark.usefixtures("livekit_binary")


def test_newcomers_path(make_run: MakeRun, tmp_path: Path) -> None:
    """The pasted lines work as printed, Ctrl-C leaves nothing, and a restart keeps all."""
    process, lines = make_run.start()
    assert f"http://127.0.0.1:{make_run.port}" in "\n".join(lines)
    pair = json.loads((make_run.folder / "livekit_key.json").read_text())
    livekit = f"http://127.0.0.1:{make_run.livekit_port}"
    assert_call_works(paste(curl_line(lines)), livekit, pair["api_key"], pair["api_secret"])
    assert (make_run.folder / "env").stat().st_mode & 0o777 == 0o600
    [page] = [word for line in lines for word in line.split() if word.endswith("/playground")]
    with urllib.request.urlopen(page, timeout=30) as response:
        assert "text/html" in response.headers["Content-Type"]
    [key] = [line.rpartition("  ")[2] for line in lines if line.startswith("and paste this API key there:")]
    assert f"Authorization: Bearer {key}" in curl_line(lines)
    assert [line for line in lines if line.startswith("Worker   api-agent: ") and "offline demo" in line]
    checked = in_second_terminal(command_line(lines), tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "FAILED" not in checked.stdout
    # It has been told of the call above.
    assert f"ok       watch: the watcher at 127.0.0.1:{make_run.watch_port} runs: " in checked.stdout
    assert "no event of LiveKit" not in checked.stdout
    assert f"ok       worker: the one at http://127.0.0.1:{make_run.health_port} answers" in checked.stdout
    # The block of docs/operating.md for a night beside it.
    assert "[info     ] request " in (make_run.folder / "logs" / "webcall.log").read_text()
    [longer] = [line for line in lines if " webcall call " in line]
    both = command_line(lines).replace("webcall check", "webcall plugins") + " && " + longer
    placed = in_second_terminal(both, tmp_path)
    assert "room_name: sample-assistant_" in placed.stdout, placed.stderr
    assert f"playground_url: {page}#call=" in placed.stdout
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=40)
    assert process.returncode == 0, shown
    make_run.assert_nothing_left()
    assert "/web_call/get_token" in shown  # the service's line about the request
    assert "route=/livekit/webhook status=200" in shown  # and that about LiveKit's event
    written = shown + "".join(path.read_text() for path in (make_run.folder / "logs").iterdir())
    assert pair["api_secret"] not in written
    # From the very shell that read the file of the first run: LiveKit is started all the same.
    env = (make_run.folder / "env").read_text()
    words = [word for line in env.splitlines() for word in shlex.split(line)]
    sourced = dict(word.split("=", 1) for word in words if "=" in word)
    assert {"LIVEKIT_URL", "WEBCALL_BIND"} <= sourced.keys()
    again, lines_again = make_run.start(**sourced)
    assert curl_line(lines_again) == curl_line(lines)
    assert_call_works(paste(curl_line(lines_again)), livekit, pair["api_key"], pair["api_secret"])
    second = make_run.spawn(WEBCALL_PORT=str(programs.free_port()))
    told, _ = second.communicate(timeout=40)
    assert second.returncode == 1
    assert told.strip().endswith("or set WEBCALL_INSTANCE to another folder")
    again.send_signal(signal.SIGTERM)
    assert again.wait(40) == 0
    make_run.assert_nothing_left()


def test_hard_kill_leaves_nothing(make_run: MakeRun) -> None:
    """A supervisor that is killed without a chance to clean up takes LiveKit and the service along."""
    process, _ = make_run.start()
    process.kill()
    process.wait()
    make_run.assert_nothing_left(within_s=40)


@pytest.mark.parametrize(
    ("program", "name"), [(b"livekit-server", "LiveKit"), (b"webcall.worker\0start", "the worker")]
)
def test_death_of_a_child_ends_all(make_run: MakeRun, program: bytes, name: str) -> None:
    """Where one program dies, make run says so with its last lines, ends the others and fails."""
    process, _ = make_run.start()
    [child] = [pid for pid in make_run.processes() if program in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(child, signal.SIGKILL)
    shown, _ = process.communicate(timeout=40)
    assert process.returncode == 1
    assert f"{name} ended with status -9" in shown
    make_run.assert_nothing_left()


def test_operators_own_livekit_is_used(make_run: MakeRun, livekit_server: LiveKitServer) -> None:
    """With LIVEKIT_URL set no other LiveKit is started, and the printed line makes rooms on that one."""
    process, lines = make_run.start(
        LIVEKIT_URL=livekit_server.url,
        LIVEKIT_API_KEY=livekit_server.key,
        LIVEKIT_API_SECRET=livekit_server.secret,
    )
    assert f"LiveKit  {livekit_server.url}  (yours: none was started here)" in lines
    assert not (make_run.folder / "livekit.yaml").exists()
    answer = paste(curl_line(lines))
    assert_call_works(answer, livekit_server.http_url, livekit_server.key, livekit_server.secret)
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0


def test_sample_key_calls_an_own_assistant(make_run: MakeRun) -> None:
    """An assistant that a newcomer adds to the file beside the sample is called with the sample's key."""
    process, lines = make_run.start()
    own = {"assistant_id": "reception", "assistant_created_by_email": "owner@localhost"}
    with (make_run.folder / "assistants.yaml").open("a") as file:
        file.write(f"- {json.dumps(own)}\n")
    line = curl_line(lines).replace("sample-assistant", "reception")
    assert paste(line)["data"]["room_name"].startswith("reception_")
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0


def test_other_backends_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    """Where the files are not in use, no sample is written or promised, and the lines still work."""
    key = "an own key, with 'quotes' and $dollars"
    record = {"assistant_id": "reception", "assistant_created_by_email": "owner@localhost"}
    process, lines = make_run.start(
        WEBCALL_VALIDATORS="env",
        WEBCALL_STORES="env",
        WEBCALL_API_KEY=key,
        WEBCALL_ASSISTANTS=json.dumps([record]),
    )
    shown = "\n".join(lines)
    assert "API keys (env) and assistants (env)" in shown
    assert "WEBCALL_API_KEY " in shown
    assert "counts at once" not in shown
    assert key not in shown
    assert not (make_run.folder / "api_keys.yaml").exists()
    checked = in_second_terminal(command_line(lines), tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0


def test_wrong_secret_is_told_by_check(make_run: MakeRun, livekit_server: LiveKitServer) -> None:
    """A LiveKit with another secret is waited for aloud, and then check's line about it is shown."""
    process = make_run.spawn(
        patience_s=4,
        LIVEKIT_URL=livekit_server.url,
        LIVEKIT_API_KEY=livekit_server.key,
        LIVEKIT_API_SECRET="another" * 8,
    )
    shown, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert shown.startswith(f"waiting for LiveKit at {livekit_server.url}, the backends (env, file)")
    assert "not ready after 4 s (livekit)" in shown
    assert "livekit.api_secret is not the secret of that key" in shown
    assert "/ready" not in shown
    make_run.assert_nothing_left()


@pytest.mark.parametrize(
    "setting", ["LIVEKIT_PORT", "WEBCALL_PORT", "WEBCALL_BIND", "WEBCALL_WORKER_HEALTH_PORT"]
)
def test_port_in_use_is_one_line(make_run: MakeRun, setting: str) -> None:
    """A port that is taken is told in one line with the setting that changes it; nothing is started."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        if setting == "WEBCALL_BIND":
            process = make_run.spawn(WEBCALL_PORT="", WEBCALL_BIND=f"127.0.0.1:{port}")
        else:
            process = make_run.spawn(**{setting: str(port)})
        shown, _ = process.communicate(timeout=40)
    [line] = shown.splitlines()
    assert process.returncode == 1
    assert line.startswith(f"127.0.0.1:{port}: ")
    assert line.endswith(" make run")
    assert f"{setting}=" in line
    assert not list((make_run.folder / "logs").iterdir())


def test_all_ports_in_use_are_one_line(make_run: MakeRun) -> None:
    """Whoever has several ports taken learns of all of them at once, with a line to paste."""
    with socket.socket() as first, socket.socket() as second:
        ports = {}
        for setting, holder in (("LIVEKIT_PORT", first), ("WEBCALL_PORT", second)):
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            ports[setting] = holder.getsockname()[1]
        shown, _ = make_run.spawn(**{name: str(port) for name, port in ports.items()}).communicate(timeout=40)
    [line] = shown.splitlines()
    assert all(f"127.0.0.1:{port}: address already in use" in line for port in ports.values())
    changed = " ".join(f"{name}={port + 10}" for name, port in ports.items())
    assert line.endswith(f"; choose others: {changed} make run")


@pytest.mark.parametrize(
    ("environment", "status", "told"),
    [
        ({"WEBCALL_PORT": "80x"}, 1, "WEBCALL_PORT: '80x' is not a port from 1 to 65535"),
        ({"LIVEKIT_URL": "ws://127.0.0.1:1", "LIVEKIT_API_KEY": "k" * 9}, 2, "livekit.api_secret: "),
        (
            {"WEBCALL_BIND": "unix:/nowhere/socket", "WEBCALL_PORT": ""},
            1,
            "http.bind: unix:/nowhere/socket: ",
        ),
    ],
    ids=["port", "secret", "socket"],
)
def test_bad_environment_is_one_line(
    make_run: MakeRun, environment: dict[str, str], status: int, told: str
) -> None:
    """What an operator set wrongly is one line, before anything is started."""
    process = make_run.spawn(**environment)
    shown, _ = process.communicate(timeout=40)
    [line] = shown.splitlines()
    assert line.startswith(told)
    assert process.returncode == status


def test_operators_records_are_left_alone(make_run: MakeRun) -> None:
    """Records that were there before the first run stay as they are, and no sample is written."""
    make_run.folder.mkdir()
    keys = make_run.folder / "api_keys.yaml"
    keys.write_text("[]\n")
    process, lines = make_run.start()
    assert "YOUR_API_KEY" in curl_line(lines)
    process.send_signal(signal.SIGINT)
    assert process.wait(40) == 0
    assert keys.read_text() == "[]\n"
    assert (make_run.folder / "assistants.yaml").read_text() == "[]\n"


def test_damaged_key_file_is_one_line(make_run: MakeRun) -> None:
    """A kept file that cannot be read is named, with the fix and without what stands in it."""
    make_run.folder.mkdir()
    (make_run.folder / "livekit_key.json").write_text('{"api_key": "canary"')
    process = make_run.spawn()
    [line] = process.communicate(timeout=40)[0].splitlines()
    assert line.startswith(f"{make_run.folder / 'livekit_key.json'}: cannot be used")
    assert "remove it" in line
    assert "canary" not in line
    assert process.returncode == 1
