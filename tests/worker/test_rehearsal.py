"""A call's beginning is rehearsed where the worker's processes come from, and leaves nothing in their way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import ROOT

# Rehearses, and tells what was asked of its server and what is left.
REHEARSED = """
import json, os, sys, threading

connected = []
sys.addaudithook(lambda event, given: event == "socket.connect" and connected.append(given[0].family.name))

if sys.argv[1] == "openai":
    import livekit.plugins.openai

from livekit.rtc._ffi_client import FfiClient
from webcall.worker import rehearsal

asked, content = [], rehearsal._content
rehearsal._content = lambda path: asked.append(path.rpartition("/")[2]) or content(path)

def left():
    return [len(os.listdir(f"/proc/self/{what}")) for what in ("task", "fd")] + [threading.active_count()]

before = left()
rehearsal.rehearse()
print(json.dumps({
    "asked": sorted(set(asked)),
    "left": [left(), before],
    "client": FfiClient._instance is not None,
    "connected": sorted(set(connected)),
}))
"""

# A worker's processes come from a server like this one.
FORKED = """
import json, multiprocessing, sys
from livekit.agents import JobExecutorType, JobProcess
from livekit.rtc._ffi_client import FfiClient
from webcall.startup import settings_only
from webcall.worker.server import Worker, _prepare_process

def tell(queue, config):
    rehearsed = "webcall.worker.rehearsed" in sys.modules and "anyio._backends._asyncio" in sys.modules
    clients = [FfiClient._instance is not None]
    process = JobProcess(executor_type=JobExecutorType.PROCESS, user_arguments=None, http_proxy=None)
    _prepare_process(config, process)
    clients.append(FfiClient._instance is not None)
    queue.put({"rehearsed": rehearsed, "clients": clients})

if __name__ == "__main__":
    config = settings_only()
    multiprocessing.set_forkserver_preload(Worker(config).server._preload_modules)
    context = multiprocessing.get_context("forkserver")
    queue = context.Queue()
    process = context.Process(target=tell, args=(queue, config))
    process.start()
    print(json.dumps(queue.get(timeout=60)))
    process.join()
"""

# What goes wrong when a later version of livekit-agents starts the SDK for a session.
WITH_THE_SDK = """
import json
from livekit.rtc._ffi_client import FfiClient
from webcall.worker import rehearsal

async def start_it():
    return FfiClient.instance

rehearsal._rehearse = start_it
try:
    rehearsal.rehearse()
except RuntimeError:
    print(json.dumps(FfiClient._instance is not None))
"""

# It is told by its kind alone.
FAILING = """
import json, sys
from webcall.worker import rehearsal

def fail():
    raise LookupError("canary")

rehearsal.rehearse = fail
sys.stderr = sys.stdout
import webcall.worker.rehearsed
"""


def told(program: str, folder: Path, *arguments: str) -> str:
    """Run a program in a process of its own; return what it prints, which must be all that it prints."""
    file = folder / "program.py"
    file.write_text(program)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WEBCALL_")},
        "PYTHONPATH": str(ROOT),
        "OPENAI_API_KEY": "unused",
        "LIVEKIT_URL": "ws://127.0.0.1:1",
        "LIVEKIT_API_KEY": "rehearsal",
        "LIVEKIT_API_SECRET": "rehearsal" * 4,
        # A proxy is no part of it.
        "HTTP_PROXY": "http://127.0.0.1:1",
    }
    command = [sys.executable, str(file), *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("models", "asked"),
    [
        ("openai", ["", "completions", "listparticipants", "models", "speech"]),
        ("demo", ["listparticipants"]),
    ],
)
def test_nothing_is_left_of_it(models: str, asked: list[str], tmp_path: Path) -> None:
    """It goes all the way to the voice, and leaves no thread, no file and no client; no address is asked."""
    found = json.loads(told(REHEARSED, tmp_path, models))
    assert found["asked"] == asked
    assert found["left"][0] == found["left"][1]
    assert not found["client"]
    assert found["connected"] == ["AF_UNIX"]


def test_the_workers_processes_have_it(tmp_path: Path) -> None:
    """A process has all that was rehearsed, and the SDK's client, which it makes itself while it waits."""
    found = json.loads(told(FORKED, tmp_path))
    assert found == {"rehearsed": True, "clients": [False, True]}


def test_the_sdk_is_not_started_by_it(tmp_path: Path) -> None:
    """What would be missing in every process is refused, and the rehearsal ends there."""
    assert json.loads(told(WITH_THE_SDK, tmp_path)) is False


def test_one_that_fails_is_a_line(tmp_path: Path) -> None:
    """A worker whose rehearsal fails works all the same, and says so."""
    assert told(FAILING, tmp_path) == "rehearsal failed, calls begin later: LookupError\n"
