"""The service under gunicorn with one of its neighbours behind a way that can be spoilt."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from livekit import api

from tests.support.deployment import KEY, OWNER, Service, settings
from tests.support.fake_livekit import FakeLiveKit
from tests.support.http import send
from tests.support.livekit import LiveKitServer
from tests.support.toxiproxy import Line
from webcall.records import hash_api_key

# In every prompt and every call's metadata: neither may ever be in a log.
CANARY = "canary-7f3a"
PLACES_OF_A_KEY = 4
THREADS = 16
NAME = "faulty.test"
# For what takes no other name without TLS.
OWN_NAME = "localhost"

# What a service finds on its path: files say what becomes of the name, and how far its clock is off. It is
# Python's start-up hook, since libfaketime 0.9.10 breaks time.sleep of Python 3.11, and cannot reach LiveKit.
_START_UP = f"""
import datetime, os, socket, time
def _read(variable):
    with open(os.environ[variable]) as file:
        return file.read()

_real = socket.getaddrinfo
def _getaddrinfo(host, *rest, **more):
    if host not in {(NAME, NAME.encode(), OWN_NAME, OWN_NAME.encode())!r}:
        return _real(host, *rest, **more)
    while (state := _read("RESOLVER")) == "hangs":
        time.sleep(0.05)
    if state == "fails":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _real("127.0.0.1", *rest, **more)
socket.getaddrinfo = _getaddrinfo

_true, _time = datetime.datetime, time.time
def _off_s():
    return float(_read("CLOCK"))
class _Kind(type):
    def __instancecheck__(cls, one):
        return isinstance(one, _true)
class _Datetime(_true, metaclass=_Kind):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=_off_s())
datetime.datetime, time.time = _Datetime, lambda: _time() + _off_s()
"""


@dataclass
class Stage:
    """A running service. `line` is the way to the neighbour, or `fake` is the neighbour itself.

    `within_s` is the neighbour's timeout in the settings. `number` tells faults apart: each has a key and
    an assistant of its own, `key(number)` and `assistant(number)`.
    """

    service: Service
    folder: Path
    within_s: float
    livekit: LiveKitServer | FakeLiveKit
    line: Line | None = None
    clean_up: list[Callable[[], None]] = field(default_factory=list)

    def start(self) -> None:
        """Start the service; one that runs is stopped before."""
        self.service.stop()
        self.service.start(patience_s=120)

    def resolve(self, state: str) -> None:
        """Let the name of the neighbour be well (`ok`), not known (`fails`) or never answered (`hangs`)."""
        _write(self.folder / "resolver", state)

    def set_clock(self, off_s: int) -> None:
        """Let the service's clock be so many seconds ahead of everybody else's."""
        _write(self.folder / "clock", f"{off_s:+d}")

    def heal(self) -> None:
        """End every fault."""
        if self.line is not None:
            self.line.heal()
        if isinstance(self.livekit, FakeLiveKit):
            self.livekit.script = lambda exchange: exchange.serve()
        self.resolve("ok")
        self.set_clock(0)

    def names(self, number: int) -> set[str]:
        """Return the names of the rooms of a fault's assistant."""
        if isinstance(self.livekit, FakeLiveKit):
            found = list(self.livekit.rooms)
        else:
            found = asyncio.run(_names(self.livekit))
        return {name for name in found if name.startswith(assistant(number) + "_")}

    def rooms(self, number: int) -> dict[str, int]:
        """Return the rooms of a fault's assistant, with how many assistants were sent into each."""
        names = self.names(number)
        if isinstance(self.livekit, FakeLiveKit):
            return dict.fromkeys(names, 1)
        return asyncio.run(_sent_into(self.livekit, names))

    def takes(self, token: str) -> bool:
        """Return whether LiveKit lets somebody join with a token; a stand-in is not asked."""
        if isinstance(self.livekit, FakeLiveKit):
            return True
        port = self.livekit.port
        return send(port, method="GET", path=f"/rtc/validate?access_token={token}").status == 200

    def secrets(self) -> list[str]:
        """Return what no log may hold."""
        return [self.livekit.secret] if isinstance(self.livekit, LiveKitServer) else []

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the log's lines from a byte on."""
        content = self.service.log.read_bytes()[since:].decode()
        return [json.loads(line) for line in content.splitlines() if line.startswith("{")]

    def log_size(self) -> int:
        """Return how many bytes the log has: none before the first start."""
        return self.service.log.stat().st_size if self.service.log.exists() else 0


def key(number: int) -> str:
    """Return the API key of a fault, of `PLACES_OF_A_KEY` calls at once."""
    return f"lvk_counted_{number:04d}_" + "c" * 30


def assistant(number: int) -> str:
    """Return the assistant of a fault."""
    return f"fault-{number}"


def keys(numbers: range) -> list[dict[str, Any]]:
    """Return the records of all keys."""
    counted = [
        {
            "api_key_hash": hash_api_key(key(number)),
            "user_email": OWNER,
            "max_concurrent_calls": PLACES_OF_A_KEY,
        }
        for number in numbers
    ]
    return [{"api_key_hash": hash_api_key(KEY), "user_email": OWNER}, *counted]


def assistants(numbers: range) -> list[dict[str, Any]]:
    """Return the records of all assistants."""
    return [
        {
            "assistant_id": assistant(number),
            "assistant_created_by_email": OWNER,
            "assistant_prompt": f"{CANARY}: you speak with {{{{name}}}}.",
        }
        for number in numbers
    ]


def env_records(numbers: range) -> dict[str, str]:
    """Return the environment that holds the records."""
    return {
        "WEBCALL_VALIDATORS": "env",
        "WEBCALL_STORES": "env",
        "WEBCALL_API_KEYS": json.dumps(keys(numbers)),
        "WEBCALL_ASSISTANTS": json.dumps(assistants(numbers)),
    }


def make_service(folder: Path, environment: Mapping[str, str], **sections: Mapping[str, Any]) -> Service:
    """Return a service that is not started yet: few threads, no rates, and these settings."""
    tree = settings(
        limits={"per_key": "off", "failed_auth_per_address": "off"} | dict(sections.pop("limits", {})),
        **sections,
    )
    config = folder / "config.yaml"
    _write(config, yaml.safe_dump(tree))
    (folder / "sitecustomize.py").write_text(_START_UP)
    _write(folder / "resolver", "ok")
    _write(folder / "clock", "+0")
    # Coverage's own start-up file is not one of these.
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Service(
        {
            "WEBCALL_CONFIG": str(config),
            "WEBCALL_THREADS": str(THREADS),
            "PYTHONPATH": path,
            "RESOLVER": str(folder / "resolver"),
            "CLOCK": str(folder / "clock"),
            **environment,
        },
        folder / "service.log",
    )


def _write(path: Path, text: str) -> None:
    # os.replace: who reads it sees all of it.
    half = path.with_suffix(".half")
    half.write_text(text)
    half.replace(path)


async def _names(server: LiveKitServer) -> list[str]:
    async with server.api() as client:
        return [room.name for room in (await client.room.list_rooms(api.ListRoomsRequest())).rooms]


async def _sent_into(server: LiveKitServer, names: set[str]) -> dict[str, int]:
    async with server.api() as client:
        found = {}
        for name in names:
            sent = await client.agent_dispatch.list_dispatch(name)
            found[name] = len([one for one in sent if one.agent_name])
        return found
