"""From the click to the first sound, beside LiveKit's usual flow, which dispatches when the person joins.

    python -m benchmarks.at_join [--calls 12] [--json FILE]

Starts a LiveKit that makes rooms on joining, and `make run` on it, on ports and in a folder of their own;
then calls in Chromium, in turn by this service and by the usual flow: there the page's request is answered
with a token whose room configuration names the same agent with the same metadata, signed here, before the
service is asked. So its request costs next to nothing, which a server of its own would not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import yaml
from google.protobuf.json_format import MessageToDict
from livekit import api
from playwright.sync_api import Route, sync_playwright

from benchmarks.compare import KEY, SECRET, spread
from benchmarks.peers.common import room_of
from benchmarks.processes import ROOT, running
from scripts import livekit_server
from scripts.children import Problem
from scripts.programs import find_browser
from scripts.sample import ASSISTANT_ID, METADATA
from tests.support.browser import Browsers, Visitor, write_sound
from tests.support.programs import free_port, stop, wait_until
from webcall.core.dispatch import dispatch_metadata, filled_definition
from webcall.core.tokens import mint, new_identity
from webcall.records import assistant_from_record

AGENT = "benchmark-agent"
STEPS = ("joined", "assistant", "word", "audio")
READY = "curl"


@contextlib.contextmanager
def everything(folder: Path) -> Iterator[tuple[str, str]]:
    """Run it all; give the service's address and LiveKit's."""
    port, bind = free_port(), f"127.0.0.1:{free_port()}"
    settings = livekit_server.write_config(folder, port, KEY, SECRET, free_port(), log_level="error")
    changed = yaml.safe_load(settings.read_text())
    changed["room"]["auto_create"] = True
    settings.write_text(yaml.safe_dump(changed))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WEBCALL_")},
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


def usual_answer(record: dict[str, Any], livekit_url: str) -> dict[str, Any]:
    """Return what the page gets instead: a token that makes the room, and sends the assistant, on joining."""
    room, now, ttl = room_of(ASSISTANT_ID), datetime.now(UTC), timedelta(minutes=1)
    definition = filled_definition(assistant_from_record(record), METADATA, text_only=False)
    metadata = dispatch_metadata(
        room=room, definition=definition, metadata=METADATA, text_only=False, max_duration_s=3600
    )
    agents = [api.RoomAgentDispatch(agent_name=AGENT, metadata=metadata)]
    token = mint(
        api_key=KEY, api_secret=SECRET, room=room, identity=new_identity(), text_only=False, ttl=ttl, now=now
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


def call(visitor: Visitor, api_key: str) -> dict[str, int]:
    """Make one call; return the milliseconds from the click to each step."""
    visitor.open()
    visitor.fill(ASSISTANT_ID, METADATA, api_key=api_key)
    visitor.page.click("#start")
    visitor.until_state("joined")
    visitor.page.locator("#timings [data-timing=audio][data-ms]").wait_for()
    return {step: visitor.timing(step) for step in STEPS}


def measure(calls: int) -> dict[str, list[dict[str, int]]]:
    """Make as many calls each way, in turn."""
    program = find_browser()
    if program is None:
        raise Problem("no Chromium: `python -m scripts.programs` says how to get one")
    found: dict[str, list[dict[str, int]]] = {"service": [], "at join": []}
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        service, livekit_url = stack.enter_context(everything(folder))
        api_key = json.loads((folder / "instance" / "sample_key.json").read_text())["api_key"]
        assistants = yaml.safe_load((folder / "instance" / "assistants.yaml").read_text())
        record = next(one for one in assistants if one["assistant_id"] == ASSISTANT_ID)

        def answer(route: Route) -> None:
            route.fulfill(json=usual_answer(record, livekit_url))

        sound = write_sound(folder / "silence.wav", [])
        browsers = Browsers(stack.enter_context(sync_playwright()), program)
        stack.callback(browsers.close)
        for number in range(2 * calls + 2):
            way = "at join" if number % 2 else "service"
            context = browsers.with_microphone(sound).new_context(permissions=["microphone"])
            if way == "at join":
                context.route("**/web_call/get_token", answer)
            visitor = Visitor.enter(context, service)
            taken = call(visitor, api_key)
            visitor.leave()
            # The first of each warms up.
            if number >= 2:
                found[way].append(taken)
    return found


def main() -> int:
    """Measure, print, and write; status 1 and a line that says why if it cannot be done."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--calls", type=int, default=12, help="each way")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    try:
        found = measure(given.calls)
    except Problem as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{'ms from the click':20}" + "".join(f"{step:>22}" for step in STEPS))
    for way, taken in found.items():
        print(f"{way:20}" + "".join(f"{spread([float(one[step]) for one in taken]):>22}" for step in STEPS))
    middle = {
        way: {step: statistics.median(one[step] for one in taken) for step in STEPS}
        for way, taken in found.items()
    }
    ratios = {step: middle["service"][step] / middle["at join"][step] for step in STEPS}
    print(f"{'ratio of medians':20}" + "".join(f"{ratios[step]:>22.2f}" for step in STEPS))
    if given.json:
        given.json.write_text(json.dumps({"calls": found, "ratios": ratios}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
