"""From the click to the first sound, beside LiveKit's usual flow, which dispatches when the person joins.

    python -m benchmarks.at_join [--calls 12] [--json FILE]

Starts a LiveKit that makes rooms on joining, `make run` on it, the worker that one would write from LiveKit's
documentation (`benchmarks/peers/livekit_agent.py`), and a server in OpenAI's place, on ports and in a folder
of their own; then calls in Chromium, in shuffled rounds: by this service; by the usual flow with this
project's worker; and by the usual flow with LiveKit's. In the usual flow the page's request is answered with
a token whose room configuration names the agent with the same metadata, signed here, before the service is
asked: it costs next to nothing, which a server of its own would not. All speak by the same models, which
answer at once, or after as long as real ones do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import yaml
from google.protobuf.json_format import MessageToDict
from livekit import api
from playwright.sync_api import sync_playwright

from benchmarks.compare import KEY, SECRET
from benchmarks.peers.common import room_of
from benchmarks.peers.livekit_agent import AGENT as PEER
from benchmarks.processes import ROOT, running
from benchmarks.stages import MARKS, STAGES, call
from scripts import livekit_server
from scripts.children import Problem
from scripts.programs import find_browser
from scripts.sample import ASSISTANT_ID, METADATA
from tests.support.browser import Browsers, Visitor, write_sound
from tests.support.openai_stub import OpenAIStub, Route
from tests.support.programs import free_port, stop, wait_until
from webcall.core.dispatch import dispatch_metadata, filled_definition
from webcall.core.rooms import random_candidate
from webcall.core.tokens import mint
from webcall.records import assistant_from_record

AGENT = "benchmark-agent"
READY = "curl"
SERVICE = "service"
# Whose worker is dispatched when the person joins; none where the service dispatches before.
WAYS = {SERVICE: "", "own worker at join": AGENT, "LiveKit's flow": PEER}
# Seconds to the first token, to the first sound, and from word to word.
NONE, REAL = "no delay", "300+150 ms"
DELAYS: dict[str, tuple[dict[Route, float], float]] = {
    NONE: ({}, 0.0),
    REAL: ({"chat": 0.3, "speech": 0.15}, 0.01),
}


@contextlib.contextmanager
def everything(folder: Path, models: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Run it all; give the service's address and LiveKit's."""
    port, bind = free_port(), f"127.0.0.1:{free_port()}"
    settings = livekit_server.write_config(folder, port, KEY, SECRET, free_port(), log_level="error")
    changed = yaml.safe_load(settings.read_text())
    changed["room"]["auto_create"] = True
    settings.write_text(yaml.safe_dump(changed))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WEBCALL_")},
        **models,
        "LIVEKIT_URL": f"ws://127.0.0.1:{port}",
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
        "LIVEKIT_AGENT_NAME": AGENT,
        "WEBCALL_BIND": bind,
        "WEBCALL_INSTANCE": str(folder / "instance"),
        "WEBCALL_LIMIT_PER_KEY": "off",
    }
    log = folder / "run.log"
    with (
        running([str(livekit_server.ensure()), "--config", str(settings)], {}, port),
        log.open("wb") as output,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "scripts.run"], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            wait_until(lambda: READY in log.read_text("utf-8", "replace"), process, 120)
            yield f"http://{bind}", f"ws://127.0.0.1:{port}"
        finally:
            stop(process)


def usual_answer(record: dict[str, Any], livekit_url: str, agent: str) -> dict[str, Any]:
    """Return what the page gets instead: a token that makes the room, and sends the assistant, on joining."""
    room, now, ttl = room_of(ASSISTANT_ID), datetime.now(UTC), timedelta(minutes=1)
    definition = filled_definition(assistant_from_record(record), METADATA, text_only=False)
    metadata = dispatch_metadata(
        room=room, definition=definition, metadata=METADATA, text_only=False, max_duration_s=3600
    )
    agents = [api.RoomAgentDispatch(agent_name=agent, metadata=metadata)]
    token = mint(
        api_key=KEY,
        api_secret=SECRET,
        room=room,
        identity=random_candidate("").identity,
        text_only=False,
        ttl=ttl,
        now=now,
    )
    claims = jwt.decode(token.jwt, SECRET, algorithms=["HS256"])
    claims["roomConfig"] = MessageToDict(api.RoomConfiguration(agents=agents, max_participants=1))
    data = {
        "room_name": room,
        "token": jwt.encode(claims, SECRET, algorithm="HS256"),
        "server_url": livekit_url,
        "expires_at": token.expires_at.isoformat().replace("+00:00", "Z"),
    }
    return {"success": True, "message": "Token generated successfully", "data": data}


@contextlib.contextmanager
def peer(livekit_url: str, models: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run the worker that one would write from LiveKit's documentation."""
    port = free_port()
    environment = {
        **models,
        "LIVEKIT_URL": livekit_url,
        "LIVEKIT_API_KEY": KEY,
        "LIVEKIT_API_SECRET": SECRET,
        "PEER_PORT": str(port),
    }
    command = [sys.executable, "-m", "benchmarks.peers.livekit_agent", "start"]
    with running(command, environment, port, log):
        until = time.monotonic() + 60
        while "registered worker" not in log.read_text("utf-8", "replace"):
            if time.monotonic() > until:
                raise Problem(f"the peer does not register: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield


def measure(calls: int) -> dict[str, list[dict[str, float]]]:
    """Make as many calls each way, with and without delays, in another order each time."""
    program = find_browser()
    if program is None:
        raise Problem("no Chromium: `python -m scripts.programs` says how to get one")
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        models = OpenAIStub()
        stack.callback(models.close)
        models.reply = "Hello Ada, this is Example Limited, how may I help you today?"
        access = {"OPENAI_API_KEY": "unused", "OPENAI_BASE_URL": models.base_url}
        service, livekit_url = stack.enter_context(everything(folder, access))
        stack.enter_context(peer(livekit_url, access, folder / "peer.log"))
        api_key = json.loads((folder / "instance" / "sample_key.json").read_text())["api_key"]
        assistants = yaml.safe_load((folder / "instance" / "assistants.yaml").read_text())
        record = next(one for one in assistants if one["assistant_id"] == ASSISTANT_ID)
        sound = write_sound(folder / "silence.wav", [])
        browsers = Browsers(stack.enter_context(sync_playwright()), program)
        stack.callback(browsers.close)

        def once(way: str, delays: str) -> dict[str, float]:
            models.first_after_s, models.word_s = DELAYS[delays]
            context = browsers.with_microphone(sound).new_context(permissions=["microphone"])
            context.add_init_script(MARKS)
            if agent := WAYS[way]:
                answer = usual_answer(record, livekit_url, agent)
                context.route("**/web_call/get_token", lambda route: route.fulfill(json=answer))
            visitor = Visitor.enter(context, service)
            taken = call(visitor, ASSISTANT_ID, api_key, models)
            visitor.leave()
            return taken

        found: dict[str, list[dict[str, float]]] = {f"{way}, {d}": [] for d in DELAYS for way in WAYS}
        for way in WAYS:
            # The first of each warms up.
            once(way, NONE)
        for _ in range(calls):
            for kind in random.sample(list(found), len(found)):
                way, _, delays = kind.partition(", ")
                found[kind].append(once(way, delays))
        return found


def main() -> int:
    """Measure, print, and write; status 1 and a line that says why if it cannot be done."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--calls", type=int, default=12, help="each way, with each kind of models")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    try:
        found = measure(given.calls)
    except Problem as error:
        print(error, file=sys.stderr)
        return 1
    ratios = {}
    print(f"{'ms from the click':28}" + "".join(f"{stage:>18}" for stage in STAGES))
    for kind, taken in found.items():
        print(f"{kind:28}" + "".join(f"{_spread([one[stage] for one in taken]):>18}" for stage in STAGES))
    for delays in DELAYS:
        ours = _middle(found[f"{SERVICE}, {delays}"])
        for way in WAYS:
            if way != SERVICE:
                theirs = _middle(found[f"{way}, {delays}"])
                ratios[f"{way}, {delays}"] = {stage: ours[stage] / theirs[stage] for stage in STAGES}
    print(f"{SERVICE}'s medians, as ratios to those of")
    for kind, ratio in ratios.items():
        print(f"{kind:28}" + "".join(f"{ratio[stage]:>18.2f}" for stage in STAGES))
    if given.json:
        given.json.write_text(json.dumps({"calls": found, "ratios": ratios}, indent=1) + "\n")
    return 0


def _middle(taken: list[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(one[stage] for one in taken) for stage in STAGES}


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


if __name__ == "__main__":
    raise SystemExit(main())
