"""A deployment on several machines, each of which dies or is restarted while calls are placed."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from livekit import api, rtc

from scripts.children import Problem
from scripts.cluster import LIVEKITS, NAMES, SERVICES, Cluster, describe
from scripts.sample import ASSISTANT_ID
from tests.support import programs
from tests.support.deployment import MakeApp, bearer
from tests.support.http import CALL, JSON, send

BODY = {"assistant_id": ASSISTANT_ID, "text_only": True}
CALLERS = 6
# Between two calls of a caller: a service that starts needs the processor, too.
PAUSE_S = 0.05


@pytest.fixture(scope="module")
def _cluster(livekit_binary: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    try:
        cluster = Cluster(folder, {"WEBCALL_WORKER_MAX_CALLS": "16"})
    except Problem as error:
        programs.without("the cluster", str(error))
    try:
        # The calls here need no assistant to answer them, and these two take long to start.
        cluster.start_all(name for name in NAMES if name not in ("watch", "worker"))
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def cluster(_cluster: Cluster) -> Cluster:
    """The running cluster; what a test before has ended is started again."""
    for name in (*LIVEKITS, *SERVICES):
        if name not in _cluster.running():
            _cluster.start(name)
    return _cluster


def ask(cluster: Cluster, port: int | None = None) -> tuple[int, dict[str, Any]]:
    """Place a call through nginx, or past it; return the status and the data."""
    answer = send(port or cluster.ports["nginx"], BODY, bearer(cluster.api_key) | JSON)
    return answer.status, answer.json["data"] if answer.status == 200 else {}


@contextmanager
def load(cluster: Cluster) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Place calls one after another from several threads while the block runs; give the answers."""
    answers: list[tuple[int, dict[str, Any]]] = []
    stop = threading.Event()

    def calls() -> None:
        while not stop.wait(PAUSE_S):
            answers.append(ask(cluster))

    with ThreadPoolExecutor(CALLERS) as pool:
        running = [pool.submit(calls) for _ in range(CALLERS)]
        try:
            until(lambda: len(answers) >= 2 * CALLERS)
            yield answers
            # Whoever was caught in the middle has had an answer, and the others have gone on.
            count = len(answers)
            until(lambda: len(answers) >= count + 3 * CALLERS)
        finally:
            stop.set()
        for one in running:
            one.result()


def until(there: Callable[[], bool], within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not there():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)


def statuses(answers: list[tuple[int, dict[str, Any]]]) -> dict[int, int]:
    return dict(Counter(status for status, _ in answers))


def joinable(cluster: Cluster, token: str) -> bool:
    """Whether LiveKit, behind nginx, takes the token."""
    address = f"{cluster.address('livekit')}/rtc/validate?access_token={token}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return bool(answer.read() == b"success")


def test_the_printed_line_places_a_call(cluster: Cluster) -> None:
    """The curl line that the cluster prints is answered through nginx, by both nodes of the service."""
    [line] = [line for line in describe(cluster).splitlines() if line.startswith("curl ")]
    for _ in range(4):
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=60)
        assert '"success":true' in done.stdout, done.stdout + done.stderr
    for name in SERVICES:
        assert '"method": "POST"' in cluster.log(name).read_text()


def test_a_rolling_restart_costs_no_call(cluster: Cluster) -> None:
    """SIGTERM, wait, start, one node of the service after the other, under load: every call is answered."""
    with load(cluster) as answers:
        for name in SERVICES:
            cluster.terminate(name)
            cluster.start(name)
            count = len(answers)
            until(lambda seen=count: len(answers) > seen + CALLERS)  # type: ignore[misc]
    assert set(statuses(answers)) == {200}, statuses(answers)


def test_a_killed_livekit_node_costs_no_call(cluster: Cluster) -> None:
    """With SIGKILL under load: calls that LiveKit gives to the dead node are placed on the other one."""
    with load(cluster) as answers:
        cluster.kill(LIVEKITS[0])
    assert set(statuses(answers)) == {200}, statuses(answers)
    assert all(joinable(cluster, data["token"]) for _, data in answers[-CALLERS:])


class Ghosts:
    """Rooms of one LiveKit node, found in Redis."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._redis = redis.Redis(port=cluster.ports["redis"], decode_responses=True)
        [self.node, *_] = re.findall(r"ND_\w+", cluster.log(name).read_text())

    def has(self, room: str) -> bool:
        return bool(self._redis.hget("room_node_map", room) == self.node)

    def call(self, client: FlaskClient, key: str) -> tuple[str, dict[str, Any]]:
        """Place a call whose room is on the node; return its Idempotency-Key and its data."""
        for _ in range(40):
            header = str(uuid.uuid4())
            data = repeat(client, key, header)
            if self.has(data["room_name"]):
                return header, data
        raise AssertionError("40 rooms in a row on the other node")


def repeat(client: FlaskClient, key: str, header: str) -> dict[str, Any]:
    answer = client.post(CALL, json=BODY, headers=bearer(key) | {"Idempotency-Key": header})
    assert answer.status_code == 200, answer.text
    return dict(answer.json["data"])  # type: ignore[index]


async def join(data: dict[str, Any]) -> rtc.Room:
    room = rtc.Room()
    await room.connect(data["server_url"], data["token"])
    return room


PERSON = """import asyncio, sys
from livekit import api, rtc

async def stay():
    await rtc.Room().connect(sys.argv[1], sys.argv[2])
    print("inside", flush=True)
    await asyncio.Event().wait()

asyncio.run(stay())
"""


@contextmanager
def person_inside(data: dict[str, Any]) -> Iterator[None]:
    """Have somebody in the room, in a process of their own, which is killed with the block's end."""
    command = [sys.executable, "-c", PERSON, data["server_url"], data["token"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "inside\n"
            yield
        finally:
            process.kill()


def test_calls_that_wait_on_a_dead_livekit_node(cluster: Cluster, make_app: MakeApp) -> None:
    """Who waits can join; a repeat gets the same call while its token lives, and after that a new one."""
    environment = {
        name: value
        for name, value in cluster.environment.items()
        if name.startswith(("LIVEKIT_", "WEBCALL_", "MONGODB_"))
    }
    client = make_app(environment).test_client()
    shortly = make_app(environment, call={"join_window_s": 3}).test_client()
    key, name = cluster.api_key, LIVEKITS[1]
    ghosts = Ghosts(cluster, name)

    # Somebody was in this call when its node died, and LiveKit goes on saying so.
    left_header, left = ghosts.call(shortly, key)
    _, waiting = ghosts.call(client, key)
    header, first = ghosts.call(client, key)
    with person_inside(left):
        until(lambda: datetime.fromisoformat(left["expires_at"]) < datetime.now(UTC))
        assert repeat(shortly, key, left_header)["room_name"] == left["room_name"]
    cluster.kill(name)

    async def scene() -> None:
        joining = asyncio.create_task(join(waiting))
        at_once = await asyncio.to_thread(repeat, client, key, header)
        later = await asyncio.to_thread(repeat, client, key, header)
        for data in (at_once, later):
            assert data["room_name"] == first["room_name"]
            assert data["expires_at"] == first["expires_at"], "a token must not outlive its room"
        new = await asyncio.to_thread(repeat, shortly, key, left_header)
        assert new["room_name"] != left["room_name"]
        again = await asyncio.to_thread(repeat, shortly, key, left_header)
        assert again["room_name"] == new["room_name"]
        for room in (await joining, await join(later), await join(new)):
            assert room.isconnected()
            await room.disconnect()

    asyncio.run(scene())


def test_a_killed_service_node_costs_no_call(cluster: Cluster) -> None:
    """With SIGKILL under load: nginx asks the other node for what was in the dead one's hands."""
    with load(cluster) as answers:
        cluster.kill(SERVICES[0])
    assert set(statuses(answers)) == {200}, statuses(answers)


@pytest.mark.skipif("WEBCALL_CLUSTER_LONG" not in os.environ, reason="takes a minute: make failover")
def test_everybody_on_a_dead_livekit_node_ends_with_one_assistant(cluster: Cluster) -> None:
    """Person and assistant find their way to the other node, which sends an assistant too: one stays."""
    cluster.start("watch")
    cluster.start("worker")
    name = LIVEKITS[0]
    ghosts = Ghosts(cluster, name)
    calls: list[tuple[dict[str, Any], rtc.Room]] = []

    def assistants(room: rtc.Room) -> int:
        there = room.remote_participants.values()
        return sum(one.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT for one in there)

    async def wait_until(there: Callable[[], bool], within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not there():
            assert time.monotonic() < deadline, [assistants(room) for _, room in calls]
            await asyncio.sleep(0.1)

    async def scene() -> None:
        address = (cluster.livekit_url, cluster.pair.api_key, cluster.pair.api_secret)
        async with api.LiveKitAPI(*address) as livekit:
            while len(calls) < 3:
                _, data = await asyncio.to_thread(ask, cluster)
                if ghosts.has(data["room_name"]):
                    calls.append((data, await join(data)))
                else:
                    # Its assistant would take a place of the worker.
                    await livekit.room.delete_room(api.DeleteRoomRequest(room=data["room_name"]))
        await wait_until(lambda: all(assistants(room) == 1 for _, room in calls), 60)
        cluster.kill(name)
        # Those who were connected by way of the other node notice last, after some ten seconds.
        settled = time.monotonic()
        while time.monotonic() - settled < 12:
            if not all(assistants(room) == 1 and room.isconnected() for _, room in calls):
                settled = time.monotonic()
            await asyncio.sleep(0.2)
        for _, room in calls:
            await room.disconnect()

    asyncio.run(asyncio.wait_for(scene(), 180))
