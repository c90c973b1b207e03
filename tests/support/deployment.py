"""A sample deployment: two owners, their keys and assistants, and applications that serve them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymongo
import pytest
import yaml
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

import webcall
from tests.support import programs
from tests.support.fake_livekit import FakeLiveKit
from tests.support.livekit import LiveKitServer
from webcall.records import hash_api_key

ROOT = Path(__file__).resolve().parents[2]
OWNER, STRANGER = "ada@example.com", "eve@example.com"

KEY = "lvk_" + "k" * 43
LISTED_KEY = "lvk_listed_" + "l" * 36
REVOKED_KEY = "lvk_revoked_" + "r" * 35
EXPIRED_KEY = "lvk_expired_" + "e" * 35
PLAIN_KEY = "an old key of an existing deployment"
PAGE_KEY = "lvp_page_" + "p" * 38
APP_KEY = "lvp_app_" + "a" * 39
BOUND_KEY = "lvk_bound_" + "b" * 37
IDLE_KEY = "lvk_idle_" + "i" * 38
PAGE, SUBDOMAINS = "https://shop.example.com", "https://*.shop.example"

API_KEYS: list[dict[str, Any]] = [
    {"api_key_hash": hash_api_key(KEY), "api_key_prefix": KEY[:12], "user_email": OWNER, "user_name": "Ada"},
    {"api_key_hash": hash_api_key(LISTED_KEY), "user_email": OWNER, "allowed_assistants": ["other"]},
    {"api_key_hash": hash_api_key(REVOKED_KEY), "user_email": OWNER, "is_active": False},
    {"api_key_hash": hash_api_key(EXPIRED_KEY), "user_email": OWNER, "expires_at": "2020-01-01T00:00:00Z"},
    {"api_key": PLAIN_KEY, "user_email": OWNER},
    {
        "api_key_hash": hash_api_key(PAGE_KEY),
        "api_key_prefix": PAGE_KEY[:12],
        "user_email": OWNER,
        "allowed_assistants": ["helper"],
        "allowed_origins": [PAGE, SUBDOMAINS],
        "allowed_metadata": ["customer"],
    },
    {
        "api_key_hash": hash_api_key(APP_KEY),
        "api_key_prefix": APP_KEY[:12],
        "user_email": OWNER,
        "allowed_assistants": ["helper"],
        "native": True,
    },
    {"api_key_hash": hash_api_key(BOUND_KEY), "user_email": OWNER, "allowed_origins": [PAGE]},
    {"api_key_hash": hash_api_key(IDLE_KEY), "user_email": OWNER, "max_concurrent_calls": 0},
]

ASSISTANTS: list[dict[str, Any]] = [
    {
        "assistant_id": "helper",
        "assistant_name": "Helper",
        "assistant_created_by_email": OWNER,
        "assistant_mode": "pipeline",
        "assistant_prompt": "You talk with {{customer.name}} from {{city}}.",
        "assistant_start_instruction": "Greet {{customer.name}}.",
        "assistant_placeholder_defaults": {"customer": {"name": "the caller"}, "city": "somewhere"},
        "assistant_llm_model": "demo",
        "a_field_of_tomorrow": {"kept": True},
    },
    {"assistant_id": "other", "assistant_created_by_email": OWNER, "agent_name": "own-agent"},
    {"assistant_id": "speaker", "assistant_created_by_email": OWNER, "assistant_mode": "realtime"},
    {"assistant_id": "resting", "assistant_created_by_email": OWNER, "assistant_is_active": False},
    {"assistant_id": "foreign", "assistant_created_by_email": STRANGER},
    {"assistant_id": "broken", "assistant_created_by_email": OWNER, "assistant_prompt": "{{#never}} closed"},
]

BACKENDS = ("env", "file", "mongo")

MakeApp = Callable[..., Flask]


def bearer(api_key: str = KEY) -> dict[str, str]:
    """Return the header that authenticates."""
    return {"Authorization": f"Bearer {api_key}"}


def store_records(backend: str, folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """Put the sample records where `backend` reads them; return the environment that says so."""
    chosen = {"WEBCALL_VALIDATORS": backend, "WEBCALL_STORES": backend}
    if backend == "env":
        return chosen | {
            "WEBCALL_API_KEYS": json.dumps(API_KEYS),
            "WEBCALL_ASSISTANTS": json.dumps(ASSISTANTS),
        }
    if backend == "file":
        keys, assistants = folder / "keys.json", folder / "assistants.json"
        keys.write_text(json.dumps(API_KEYS))
        assistants.write_text(json.dumps(ASSISTANTS))
        return chosen | {"WEBCALL_API_KEYS_FILE": str(keys), "WEBCALL_ASSISTANTS_FILE": str(assistants)}
    server = request.getfixturevalue("mongo_server")
    name = request.getfixturevalue("mongo_database")
    with pymongo.MongoClient[dict[str, Any]](server.uri) as client:
        # insert_many writes an _id into what it is given.
        client[name].api_keys.insert_many([dict(record) for record in API_KEYS])
        client[name].assistants.insert_many([dict(record) for record in ASSISTANTS])
    return chosen | {"MONGODB_URI": server.uri, "MONGODB_DATABASE": name}


def livekit_environment(server: LiveKitServer | FakeLiveKit) -> dict[str, str]:
    """Return the environment that names a LiveKit server."""
    return {"LIVEKIT_URL": server.url, "LIVEKIT_API_KEY": server.key, "LIVEKIT_API_SECRET": server.secret}


@pytest.fixture
def make_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeApp]:
    """Make applications from the repository's config.yaml, an environment, and changed sections.

    `make_app({"LIVEKIT_URL": …}, call={"join_window_s": 5})`
    """
    made: list[Flask] = []

    def make(environment: Mapping[str, str], **sections: Mapping[str, Any]) -> Flask:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        app = webcall.create_app(settings(**sections))
        made.append(app)
        return app

    yield make
    for app in made:
        app.extensions["webcall"].close()


def settings(**sections: Any) -> dict[str, Any]:
    """Return the repository's config.yaml as parsed, with some settings of some sections changed."""
    tree: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    for name, section in sections.items():
        if isinstance(section, Mapping):
            tree[name] = {**tree.get(name, {}), **section}
        else:
            tree[name] = section
    return tree


@pytest.fixture
def app(
    make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Flask:
    """The sample deployment in files, on the real LiveKit server."""
    # Some tests ask more often than a key may by default.
    often = {"WEBCALL_LIMIT_PER_KEY": "off"}
    return make_app(livekit_environment(livekit_server) | often | store_records("file", tmp_path, request))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Requests to `app`, without a socket."""
    return app.test_client()


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """Runs `flask …` commands on `app`."""
    return app.test_cli_runner()


@dataclass
class Service:
    """The service as gunicorn runs it, in a process of its own, with its output in a file."""

    environment: Mapping[str, str]
    log: Path
    port: int = field(default_factory=programs.free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, patience_s: float = 30) -> Service:
        """Start it and return when it answers; with many at once that takes longer."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("WEBCALL_", "LIVEKIT_"))
        }
        environment = {**clean, "WEBCALL_CONFIG": str(ROOT / "config.yaml"), **self.environment}
        environment["WEBCALL_BIND"] = f"127.0.0.1:{self.port}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn"], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        programs.wait_until(self._answers, self.process, patience_s)
        return self

    def stop(self) -> None:
        """End it as an operator would."""
        if self.process is not None:
            programs.stop(self.process)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=5):
                return True
        except OSError:
            return False


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[[Mapping[str, str]], Service]]:
    """Start services under gunicorn; they are stopped after the test."""
    started: list[Service] = []

    def make(environment: Mapping[str, str]) -> Service:
        service = Service(environment, tmp_path / f"service-{len(started)}.log")
        started.append(service)
        return service.start()

    yield make
    for service in started:
        service.stop()
