"""The end of real calls, as LiveKit's own webhooks tell it: each told once, with who ended it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from livekit import api

from tests.support.calls import PlacedCall, until_active
from tests.support.deployment import API_KEYS, ASSISTANTS, KEY, OWNER, Service, livekit_environment, settings
from tests.support.http import JSON, send
from tests.support.livekit import LiveKitServer
from tests.support.person import Person, joined
from tests.support.programs import free_port, wait_until
from tests.support.worker import MakeWorker, WorkerProcess

# Of a machine that does much else.
PATIENCE_S = 90

# Its definition ends a call long before `call.max_duration_s` does.
SHORT = {
    "assistant_id": "short",
    "assistant_created_by_email": OWNER,
    "assistant_llm_model": "demo",
    "assistant_interaction_config": {"max_call_duration_minutes": 2 / 60},
}


@dataclass
class Deployment:
    """The service in two processes with the example of an observer, LiveKit, and what was written."""

    service: Service
    server: LiveKitServer
    audit: Path

    def call(self, **body: Any) -> PlacedCall:
        """Place a call."""
        headers = {"Authorization": f"Bearer {KEY}", **JSON}
        answer = send(self.service.port, {"assistant_id": "helper", **body}, headers)
        assert answer.status == 200, answer.body
        data = answer.json["data"]
        return PlacedCall(data["room_name"], data["token"], data["server_url"])

    def lines(self, event: str = "ended") -> list[dict[str, Any]]:
        """Return the lines of one event so far."""
        text = self.audit.read_text() if self.audit.exists() else ""
        return [one for one in map(json.loads, text.splitlines()) if one["event"] == event]

    async def ended(self, call: PlacedCall, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait for the line about the end of a call, and return it."""

        def told() -> list[dict[str, Any]]:
            return [one for one in self.lines() if one["room_name"] == call.room_name]

        process = self.service.process
        assert process is not None
        await asyncio.to_thread(wait_until, lambda: bool(told()), process, within_s)
        (line,) = told()
        return line


@pytest.fixture
def deployment(livekit_binary: Path, redis_uri: str, tmp_path: Path) -> Iterator[Deployment]:
    """Two processes that share Redis, and a LiveKit that knows the webhook twice, as a clumsy operator's."""
    port, audit = free_port(), tmp_path / "audit.jsonl"
    webhook = f"http://127.0.0.1:{port}/livekit/webhook"
    server = LiveKitServer(livekit_binary, tmp_path, [webhook, webhook])
    config = settings(
        limits={"storage_uri": redis_uri, "per_key": "off"},
        call={"departure_timeout_s": 2},
        plugins=["plugins.env", "plugins.audit"],
    )
    config["backends"] = {"env": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    service = Service(
        livekit_environment(server)
        | {"WEBCALL_CONFIG": str(tmp_path / "config.yaml"), "WEBCALL_WORKERS": "2"}
        | {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env", "WEBCALL_API_KEYS": json.dumps(API_KEYS)}
        | {"WEBCALL_ASSISTANTS": json.dumps([*ASSISTANTS, SHORT]), "WEBCALL_AUDIT_FILE": str(audit)}
        | {"LIVEKIT_AGENT_NAME": "ended-calls"},
        tmp_path / "service.log",
        port,
    )
    try:
        server.start()
        yield Deployment(service.start(), server, audit)
    finally:
        service.stop()
        server.stop()


@pytest.fixture
def worker(deployment: Deployment, make_worker: MakeWorker) -> WorkerProcess:
    """The project's own worker, which takes these calls."""
    return make_worker(agent_name="ended-calls", server=deployment.server)


async def ready(person: Person) -> None:
    """Wait until the assistant has spoken."""
    await person.until(person.words, PATIENCE_S)


@pytest.mark.usefixtures("worker")
def test_who_ended_a_call(deployment: Deployment) -> None:
    """A goodbye of either side, the longest time and a room that nobody joined are told apart, each once."""

    async def by_the_caller() -> dict[str, Any]:
        call = deployment.call(text_only=True)
        async with joined(call) as person:
            await ready(person)
            # As the pages do: the assistant may close the room before the person is out of it.
            await person.type("bye", "webcall.bye")
            await person.until_closed(PATIENCE_S)
        return await deployment.ended(call)

    async def by_the_assistant() -> dict[str, Any]:
        call = deployment.call(text_only=True)
        async with joined(call) as person:
            await ready(person)
            await person.reply_to("goodbye", PATIENCE_S)
            await person.until_closed(PATIENCE_S)
        return await deployment.ended(call)

    async def by_the_time() -> dict[str, Any]:
        call = deployment.call(assistant_id="short", text_only=True)
        async with joined(call) as person:
            await person.until_closed(PATIENCE_S)
        return await deployment.ended(call)

    async def by_nobody() -> dict[str, Any]:
        call = deployment.call()
        async with deployment.server.api() as livekit:
            await livekit.room.delete_room(api.DeleteRoomRequest(room=call.room_name))
        return await deployment.ended(call)

    async def all_at_once() -> list[dict[str, Any]]:
        return await asyncio.gather(by_the_caller(), by_the_assistant(), by_the_time(), by_nobody())

    caller, assistant, over, nobody = asyncio.run(all_at_once())
    assert [one["ended_by"] for one in (caller, assistant, over, nobody)] == [
        "caller",
        "assistant",
        "time",
        "nobody_came",
    ]
    assert (nobody["joined_at"], nobody["length_s"]) == (None, 0)
    assert over["length_s"] >= 1
    assert all(one["answered"] for one in (caller, assistant, over))
    assert (caller["owner"], caller["key_id"], caller["text_only"]) == (OWNER, KEY[:12], True)
    assert caller["created_at"][:19] <= caller["joined_at"] <= caller["ended_at"]
    # Each event came twice.
    assert len(deployment.lines()) == len(deployment.lines("created")) == 4


def test_without_an_assistant(deployment: Deployment) -> None:
    """Who hangs up in a room without an assistant did so unanswered; one that is closed is an outage."""

    async def hang_up(call: PlacedCall) -> None:
        async with joined(call) as person:
            await until_active(deployment.server, call, person.identity, PATIENCE_S)

    async def close(call: PlacedCall) -> None:
        async with joined(call) as person, deployment.server.api() as livekit:
            await livekit.room.delete_room(api.DeleteRoomRequest(room=call.room_name))
            await person.until_closed(PATIENCE_S)

    async def both() -> list[dict[str, Any]]:
        calls = [deployment.call(), deployment.call()]
        await asyncio.gather(hang_up(calls[0]), close(calls[1]))
        return [await deployment.ended(call) for call in calls]

    began = time.monotonic()
    lines = asyncio.run(both())
    assert [(one["ended_by"], one["answered"]) for one in lines] == [("caller", False), ("outage", False)]
    assert all(0 <= one["length_s"] <= time.monotonic() - began + 1 for one in lines)
