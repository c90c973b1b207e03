"""The stages, each made when a fault is to be tried on it, and what was seen of the faults."""

from __future__ import annotations

import json
import os
import secrets
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from plugins.sql.assistants import SqlAssistants
from plugins.sql.connection import Connection
from plugins.sql.keys import SqlKeys
from scripts.faults_table import VARIABLE
from tests.faults import catalog
from tests.faults.catalog import FAULTS
from tests.faults.measuring import Outcome, measure, row
from tests.faults.stages import (
    NAME,
    OWN_NAME,
    Stage,
    assistants,
    env_records,
    keys,
    make_service,
)
from tests.support.company import SECRET, ExampleServer
from tests.support.deployment import livekit_environment
from tests.support.fake_livekit import FakeLiveKit
from tests.support.livekit import LiveKitServer
from tests.support.toxiproxy import Line, Toxiproxy

_WITHIN = pytest.StashKey[dict[str, float]]()
# A machine that does other work too may be late, twice.
TRIES = 3
NUMBERS = range(TRIES * len(FAULTS))
# The table is made with the settings' own defaults, the tests with short ones.
DEFAULTS = bool(os.environ.get(VARIABLE))
SHORT_S = 1.0
# Stages at the same time: most of a fault is waiting, but services that start together take long.
AT_ONCE = 3


class Stages:
    """Makes a stage by what is faulty on it."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path) -> None:
        self._fixture = request.getfixturevalue
        self._folder = folder
        self.made: list[Stage] = []

    def make(self, where: str) -> Stage:
        """Return the stage, with the service not started yet."""
        makers: dict[str, Callable[[Path], Stage]] = {
            catalog.LIVEKIT: self._livekit,
            catalog.ANSWERS: self._answers,
            catalog.CLOCK: self._clock,
            catalog.MONGO: self._mongo,
            catalog.REDIS: lambda folder: self._redis(folder, required=False),
            catalog.REQUIRED: lambda folder: self._redis(folder, required=True),
            catalog.POSTGRES: self._postgres,
            catalog.HTTP: self._http,
        }
        folder = self._folder / where.replace(" ", "-").replace("'", "")
        folder.mkdir()
        stage = makers[where](folder)
        self.made.append(stage)
        stage.clean_up.append(stage.service.stop)
        return stage

    @property
    def _server(self) -> LiveKitServer:
        server: LiveKitServer = self._fixture("livekit_server")
        return server

    def _line(self, port: int) -> Line:
        toxiproxy: Toxiproxy = self._fixture("toxiproxy")
        return Line(toxiproxy, port)

    def _livekit(self, folder: Path) -> Stage:
        server, within_s = self._server, 5 if DEFAULTS else SHORT_S
        line = self._line(server.port)
        environment = livekit_environment(server) | {"LIVEKIT_URL": f"ws://{NAME}:{line.port}"}
        service = make_service(
            folder, environment | env_records(NUMBERS), livekit=_livekit_settings(within_s)
        )
        return Stage(service, folder, within_s, server, line, [line.close])

    def _answers(self, folder: Path) -> Stage:
        fake, within_s = FakeLiveKit(), 5 if DEFAULTS else SHORT_S
        service = make_service(
            folder, fake.environment | env_records(NUMBERS), livekit=_livekit_settings(within_s)
        )
        return Stage(service, folder, within_s, fake, clean_up=[fake.close])

    def _clock(self, folder: Path) -> Stage:
        environment = livekit_environment(self._server) | env_records(NUMBERS)
        service = make_service(folder, environment)
        return Stage(service, folder, 5, self._server)

    def _mongo(self, folder: Path) -> Stage:
        server, name = self._fixture("mongo_server"), f"faults_{secrets.token_hex(8)}"
        with server.client() as client:
            client[name].api_keys.insert_many(keys(NUMBERS))
            client[name].assistants.insert_many(assistants(NUMBERS))
        within_s = 2 if DEFAULTS else SHORT_S
        line = self._line(int(server.uri.rpartition(":")[2]))
        settings = {"uri": f"mongodb://{NAME}:{line.port}", "database": name, "timeout_s": within_s}
        return self._with_backend(folder, "mongo", settings, within_s, line)

    def _redis(self, folder: Path, *, required: bool) -> Stage:
        server = self._fixture("_redis_server")
        line = self._line(server.port)
        limits = {
            "storage_uri": f"redis://{NAME}:{line.port}/{1 if required else 2}",
            "required": required,
            # Counted in Redis too.
            "per_key": "10000/minute",
        }
        environment = livekit_environment(self._server) | env_records(NUMBERS)
        service = make_service(folder, environment, limits=limits)
        return Stage(service, folder, 0.5, self._server, line, [line.close])

    def _postgres(self, folder: Path) -> Stage:
        server, name = self._fixture("postgres_server"), f"faults_{secrets.token_hex(8)}"
        server.ask(f"CREATE DATABASE {name}")
        url = server.url(name)
        connection = Connection(url, 10, 1)
        for side, records in ((SqlKeys(connection), keys), (SqlAssistants(connection), assistants)):
            side.prepare()
            for record in records(NUMBERS):
                side.add_key(record) if isinstance(side, SqlKeys) else side.put_assistant(record)
        connection.close()
        within_s = 2 if DEFAULTS else SHORT_S
        line = self._line(server.port)
        behind = url.replace(f"127.0.0.1:{server.port}", f"{NAME}:{line.port}")
        assert behind != url
        settings = {"url": behind, "timeout_s": within_s}
        return self._with_backend(folder, "sql", settings, within_s, line)

    def _http(self, folder: Path) -> Stage:
        records = {
            "keys": {one["api_key_hash"]: one for one in keys(NUMBERS)},
            "assistants": {one["assistant_id"]: one for one in assistants(NUMBERS)},
        }
        server = ExampleServer(folder, records)
        server.start()
        within_s = 2 if DEFAULTS else SHORT_S
        line = self._line(server.port)
        settings = {
            "url": f"http://{OWN_NAME}:{line.port}",
            "secret": SECRET,
            "timeout_s": within_s,
            # Else what was asked before the fault would be answered from the cache.
            "cache_s": 0,
            "negative_cache_s": 0,
            "stale_if_error_s": 0,
        }
        stage = self._with_backend(folder, "http", settings, within_s, line)
        stage.clean_up.insert(0, server.stop)
        return stage

    def _with_backend(
        self, folder: Path, name: str, settings: dict[str, Any], within_s: float, line: Line
    ) -> Stage:
        chosen = {"WEBCALL_VALIDATORS": name, "WEBCALL_STORES": name}
        service = make_service(folder, livekit_environment(self._server) | chosen, backends={name: settings})
        return Stage(service, folder, within_s, self._server, line, [line.close])


def _livekit_settings(within_s: float) -> dict[str, Any]:
    return {"timeout_s": within_s}


Seen = dict[str, Outcome | str]


@pytest.fixture(scope="module")
def within_s(outcomes: Seen, request: pytest.FixtureRequest) -> dict[str, float]:
    """The timeout of each stage's neighbour."""
    found: dict[str, float] = request.node.stash[_WITHIN]
    return found


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """What was seen of each fault that is to be tried, by its id: those of one stage after each other."""
    asked = [item.callspec.params["fault"] for item in request.session.items if _is_of_fault(item)]
    stages = Stages(request, tmp_path_factory.mktemp("faults"))
    seen: Seen = {}
    try:
        wheres = list(dict.fromkeys(fault.where for fault in asked))
        for where in wheres:
            stages.make(where)
        timeouts = [stage.within_s for stage in stages.made]
        request.node.stash[_WITHIN] = dict(zip(wheres, timeouts, strict=True))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for stage, where in zip(stages.made, wheres, strict=True):
                pool.submit(_try_all, stage, [one for one in asked if one.where == where], seen)
        if path := os.environ.get(VARIABLE):
            rows = [row(one, got) for one in FAULTS if isinstance(got := seen.get(one.id), Outcome)]
            Path(path).write_text(json.dumps(rows), "utf-8")
        yield seen
    finally:
        with ExitStack() as closing:
            # One that cannot be closed holds up none of the others.
            for stage in stages.made:
                for one in stage.clean_up:
                    closing.callback(one)


def _is_of_fault(item: Any) -> bool:
    return hasattr(item, "callspec") and isinstance(item.callspec.params.get("fault"), catalog.Fault)


def _try_all(stage: Stage, faults: list[catalog.Fault], seen: Seen) -> None:
    try:
        if not faults[0].from_start:
            stage.start()
        for fault in faults:
            try:
                seen[fault.id] = measure(stage, fault, NUMBERS[FAULTS.index(fault) :: len(FAULTS)])
            except Exception:
                seen[fault.id] = traceback.format_exc()
    except BaseException:
        seen.setdefault(faults[0].id, traceback.format_exc())
        raise
