"""What the service adds to one call's time: a token, beside the bare request to LiveKit that it needs.

    python -m benchmarks.one_call [--rounds 9] [--requests 100] [--json FILE]

Real LiveKit, records in MongoDB, one connection, one request after the other. `bare` is CreateRoom on a
kept connection, prepared beforehand, with the room, metadata and dispatch that the service sends: from the
first byte sent to the last byte of the answer. Rounds of both alternate, so that the machine is the same.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import secrets
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from livekit import api

from benchmarks.compare import KEY, REAL, SECRET, livekit, measure, spread
from benchmarks.contestants import ASSISTANT, SMALL, Deployment
from benchmarks.peers import common
from benchmarks.processes import running
from benchmarks.scale import in_mongo
from tests.support.mongo import MongoServer
from tests.support.programs import free_port


def bare_ms(url: str, requests: int) -> float:
    """Return the median of CreateRoom's time in milliseconds, on one kept connection."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
    token = (
        api.AccessToken(KEY, SECRET)
        .with_grants(api.VideoGrants(room_create=True))
        .with_ttl(timedelta(hours=1))
        .to_jwt()
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/protobuf"}
    took = []
    with contextlib.closing(connection):
        connection.connect()
        for _ in range(requests):
            room = common.room_of("helper")
            dispatch = common.dispatch_of(ASSISTANT, room, SMALL, False)
            body = api.CreateRoomRequest(
                name=room,
                metadata=secrets.token_hex(16),
                empty_timeout=120,
                departure_timeout=20,
                max_participants=1,
                agents=[api.RoomAgentDispatch(agent_name=common.AGENT, metadata=dispatch)],
            ).SerializeToString()
            began = time.perf_counter()
            connection.request("POST", "/twirp/livekit.RoomService/CreateRoom", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            took.append((time.perf_counter() - began) * 1000)
            if answer.status != 200:
                raise SystemExit(f"LiveKit answers {answer.status}: {content!r}")
    return statistics.median(took)


def main() -> None:
    """Measure, print, and write."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--rounds", type=int, default=9)
    options.add_argument("--requests", type=int, default=100, help="of each, per round")
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="webcall-benchmark-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        deployment = Deployment.write(folder)
        url = stack.enter_context(livekit(REAL, folder))
        server = MongoServer(folder)
        server.start()
        stack.callback(server.stop)
        port = free_port()
        environment = {
            **deployment.environment(url, KEY, SECRET),
            **in_mongo(server, deployment, 10_000),
            "WEBCALL_BIND": f"127.0.0.1:{port}",
        }
        pid = stack.enter_context(
            running([sys.executable, "-m", "gunicorn"], environment, port, folder / "log")
        )
        measure(port, pid, deployment.request(), given.requests, 1)
        ours, bare = [], []
        for _ in range(given.rounds):
            ours.append(measure(port, pid, deployment.request(), given.requests, 1).p50_ms)
            bare.append(bare_ms(url, given.requests))
    ratios = [one / other for one, other in zip(ours, bare, strict=True)]
    print(f"a token    {spread(ours)} ms")
    print(f"CreateRoom {spread(bare)} ms")
    print(f"ratio      {spread(ratios)}")
    if given.json:
        given.json.write_text(
            json.dumps({"token_ms": ours, "bare_ms": bare, "ratios": ratios}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
