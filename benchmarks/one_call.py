"""What the service adds to one call's time: a token, beside the bare request to LiveKit that it needs.

    python -m benchmarks.one_call [--rounds 9] [--requests 100] [--json FILE]

Real LiveKit, one connection, one request after the other; records in MongoDB, the same with its answers kept
for some seconds, and in files. The bare CreateRoom goes over a kept connection, prepared beforehand, with
the room, metadata and dispatch that the service sends: from the first byte sent to the last byte of the
answer. All alternate in shuffled rounds, so that the machine is the same.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from livekit import api

from benchmarks.compare import KEY, REAL, SECRET, livekit, measure, spread
from benchmarks.contestants import ASSISTANT, SMALL, Deployment
from benchmarks.many_records import in_mongo
from benchmarks.peers import common
from benchmarks.processes import running
from tests.support.deployment import settings
from tests.support.mongo import MongoServer
from tests.support.programs import free_port

BARE, MONGO = "bare CreateRoom", "MongoDB"
CACHE_S = 10


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


def token_ms(port: int, pid: int, request: bytes, requests: int) -> float:
    """Return the median of a token's time in milliseconds, on one kept connection."""
    return measure(port, pid, request, requests, 1).p50_ms


def rows(folder: Path, deployment: Deployment, url: str, server: MongoServer) -> dict[str, dict[str, str]]:
    """Return each row's environment."""
    plain = deployment.environment(url, KEY, SECRET)
    in_mongo_too = {**plain, **in_mongo(server, deployment, 10_000)}
    kept = settings(backends={})
    kept["backends"]["mongo"] = {
        "uri": in_mongo_too["MONGODB_URI"],
        "database": in_mongo_too["MONGODB_DATABASE"],
        "cache_s": CACHE_S,
    }
    file = folder / "kept.yaml"
    file.write_text(yaml.safe_dump(kept))
    return {
        MONGO: in_mongo_too,
        f"MongoDB, cache_s {CACHE_S}": {**in_mongo_too, "WEBCALL_CONFIG": str(file)},
        "files": plain,
    }


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
        ways: dict[str, Callable[[], float]] = {BARE: lambda: bare_ms(url, given.requests)}
        for row, environment in rows(folder, deployment, url, server).items():
            port = free_port()
            environment["WEBCALL_BIND"] = f"127.0.0.1:{port}"
            log = folder / f"{port}.log"
            pid = stack.enter_context(running([sys.executable, "-m", "gunicorn"], environment, port, log))
            ways[row] = partial(token_ms, port, pid, deployment.request(), given.requests)
            ways[row]()
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(given.rounds):
            for way in random.sample(list(ways), len(ways)):
                took[way].append(ways[way]())
    print("median of all rounds, least and greatest | beside bare CreateRoom")
    for way, times in took.items():
        ratios = [one / bare for one, bare in zip(times, took[BARE], strict=True)]
        print(f"{way:22} {spread(times)} ms | {spread(ratios)}")
    if given.json:
        given.json.write_text(json.dumps(took, indent=1) + "\n")


if __name__ == "__main__":
    main()
