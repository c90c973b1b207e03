"""LiveKit's secret is changed while people talk, in the order of docs/security.md, and no call is lost."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.calls import PlacedCall
from tests.support.deployment import API_KEYS, ASSISTANTS, Service, bearer, settings
from tests.support.http import JSON, send
from tests.support.livekit import LiveKitServer
from tests.support.person import Person, joined
from tests.support.programs import free_port, wait_until
from tests.support.webhooks import PATH, event, signed
from tests.support.worker import MakeWorker

AGENT, WORKERS = "new-secret", 2
# On a machine that does much else a token has to be good for long, too.
CALL = {"departure_timeout_s": 2, "join_window_s": 300}
PATIENCE_S = 90
# A worker of the old pair ends when its calls have, not before.
PATIENT = {"WEBCALL_WORKER_DRAIN_S": "120"}


@dataclass
class Operator:
    """What an operator has: a LiveKit, the service, and their files."""

    server: LiveKitServer
    folder: Path
    service: Service
    redis_uri: str
    old: tuple[str, str]
    new: tuple[str, str] = field(default_factory=lambda: ("APInew", secrets.token_urlsafe(48)))

    def configure_service(self, pair: tuple[str, str], previous: tuple[str, str] = ("", "")) -> None:
        """Write the service's settings with a pair, and the one before."""
        names = ("api_key", "api_secret", "previous_api_key", "previous_api_secret")
        livekit = {"url": self.server.url, **dict(zip(names, (*pair, *previous), strict=True))}
        limits = {"storage_uri": self.redis_uri, "per_key": "off"}
        plugins = ["plugins.env", "plugins.audit"]
        config = settings(livekit=livekit, limits=limits, plugins=plugins, call=CALL)
        config["backends"] = {"env": {}}
        (self.folder / "config.yaml").write_text(yaml.safe_dump(config))

    def configure_livekit(self, webhook: tuple[str, str], *pairs: tuple[str, str]) -> None:
        """Write LiveKit's settings with these pairs, of which one signs its events."""
        told = {"api_key": webhook[0], "urls": [f"{self.service.url}{PATH}"]}
        self.server.configure(keys=dict(pairs), webhook=told)

    def reload_service(self) -> None:
        """Have it read its settings again, and return when the last worker with the old ones is gone."""
        assert self.service.process is not None
        gone = self._workers_gone() + WORKERS
        self.service.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self._workers_gone() >= gone, self.service.process, PATIENCE_S)

    def _workers_gone(self) -> int:
        return self.service.log.read_text().count("Worker exiting")

    def told(self, pair: tuple[str, str]) -> int:
        """Send an event that is signed with a pair; return the answer's status."""
        body, signature = signed(event("room_started", "a-room"), *pair)
        return send(self.service.port, body, {"Authorization": signature}, path=PATH).status

    def call(self, **headers: str) -> PlacedCall:
        """Place a call."""
        body = {"assistant_id": "helper", "text_only": True}
        answer = send(self.service.port, body, bearer() | JSON | headers)
        assert answer.status == 200, answer.body
        data = answer.json["data"]
        return PlacedCall(data["room_name"], data["token"], data["server_url"])

    def lines(self, about: str) -> list[dict[str, Any]]:
        """Return what the observer was told of one kind."""
        text = (self.folder / "audit.jsonl").read_text()
        return [one for one in map(json.loads, text.splitlines()) if one["event"] == about]

    async def until_ended(self, *calls: PlacedCall) -> None:
        """Wait until the ends of calls were told."""
        rooms = {call.room_name for call in calls}
        assert self.service.process is not None
        await asyncio.to_thread(
            wait_until,
            lambda: rooms <= {one["room_name"] for one in self.lines("ended")},
            self.service.process,
            PATIENCE_S,
        )


@pytest.fixture
def operator(livekit_binary: Path, redis_uri: str, tmp_path: Path) -> Iterator[Operator]:
    """A LiveKit that has both pairs already and signs with the old one, as the service does."""
    server = LiveKitServer(livekit_binary, tmp_path)
    service = Service(
        {"WEBCALL_CONFIG": str(tmp_path / "config.yaml"), "WEBCALL_WORKERS": str(WORKERS)}
        | {"WEBCALL_VALIDATORS": "env", "WEBCALL_STORES": "env", "WEBCALL_API_KEYS": json.dumps(API_KEYS)}
        | {"WEBCALL_ASSISTANTS": json.dumps(ASSISTANTS), "LIVEKIT_AGENT_NAME": AGENT}
        | {"WEBCALL_AUDIT_FILE": str(tmp_path / "audit.jsonl")},
        tmp_path / "service.log",
        free_port(),
    )
    operator = Operator(server, tmp_path, service, redis_uri, (server.key, server.secret))
    operator.configure_livekit(operator.old, operator.old, operator.new)
    operator.configure_service(operator.old)
    try:
        server.start()
        service.start()
        yield operator
    finally:
        service.stop()
        server.stop()


def pair_of(pair: tuple[str, str]) -> dict[str, str]:
    return {"LIVEKIT_API_KEY": pair[0], "LIVEKIT_API_SECRET": pair[1], **PATIENT}


async def talk(person: Person) -> None:
    """Get an answer from the assistant."""
    await person.until(person.words, PATIENCE_S)
    assert await person.reply_to("hello", PATIENCE_S)


async def hang_up(person: Person) -> None:
    """Say goodbye as the pages do."""
    await person.type("bye", "webcall.bye")
    await person.until_closed(PATIENCE_S)


def test_a_new_secret(operator: Operator, make_worker: MakeWorker) -> None:
    """Calls from before, in between and after are answered, and the end of each is told once."""
    server, new, old = operator.server, operator.new, operator.old
    first = make_worker(pair_of(old), agent_name=AGENT, server=server)
    key = {"Idempotency-Key": secrets.token_hex(16)}

    async def walk() -> None:
        running, given, repeated = operator.call(), operator.call(), operator.call(**key)
        async with joined(running) as one:
            await talk(one)
            second = await asyncio.to_thread(make_worker, pair_of(new), agent_name=AGENT, server=server)
            assert first.process is not None
            first.process.send_signal(signal.SIGTERM)

            # The service takes the new pair, and knows the old one still.
            operator.configure_service(new, previous=old)
            reloading = asyncio.create_task(asyncio.to_thread(operator.reload_service))
            meanwhile = await asyncio.to_thread(operator.call)
            await reloading
            assert [operator.told(pair) for pair in (old, new)] == [200, 200]
            again = operator.call(**key)
            assert again.room_name == repeated.room_name
            other = send(operator.service.port, {"assistant_id": "helper"}, bearer() | JSON | key)
            assert other.status == 422, "a body is compared with the first one's all the same"
            later = operator.call()
            for call in (given, meanwhile, again, later):
                async with joined(call) as another:
                    await talk(another)
                    await hang_up(another)
            await talk(one)
            await operator.until_ended(given, meanwhile, again, later)
            await hang_up(one)
        await operator.until_ended(running)
        # The worker of the old pair has ended by itself, with its last call.
        await asyncio.to_thread(first.process.wait, PATIENCE_S)

        # LiveKit forgets the old pair, once the people in its rooms have gone.
        async with joined(last := operator.call()) as one:
            await talk(one)
            operator.configure_livekit(new, new)
            server.ask_to_end()
            await talk(one)
            await hang_up(one)
        await asyncio.to_thread(server.wait, PATIENCE_S)
        await operator.until_ended(last)
        server.start()
        assert second.process is not None
        await asyncio.to_thread(second.until_log, "worker registered", 2, PATIENCE_S)
        operator.configure_service(new)
        await asyncio.to_thread(operator.reload_service)
        assert [operator.told(pair) for pair in (old, new)] == [401, 200]
        async with joined(after := operator.call()) as one:
            await talk(one)
            await hang_up(one)
        await operator.until_ended(after)

    asyncio.run(walk())
    created = [one["room_name"] for one in operator.lines("created") if not one["repeated"]]
    ends = operator.lines("ended")
    assert sorted(one["room_name"] for one in ends) == sorted(created)
    assert {(one["ended_by"], one["answered"]) for one in ends} == {("caller", True)}
