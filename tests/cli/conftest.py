"""The sample deployment over the backends that can write, and a way to run commands on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from tests.support import deployment
from tests.support.deployment import MakeApp, bearer, livekit_environment, store_records
from tests.support.livekit import LiveKitServer
from webcall.records import hash_api_key

SECRET = "canary-of-the-livekit-secret-0123456789"
# Nothing listens there, and commands that do not call LiveKit do not need it.
NO_LIVEKIT = {
    "LIVEKIT_URL": "ws://127.0.0.1:9",
    "LIVEKIT_API_KEY": "APItest",
    "LIVEKIT_API_SECRET": SECRET,
}
SAMPLE_KEYS = (
    deployment.KEY,
    deployment.LISTED_KEY,
    deployment.REVOKED_KEY,
    deployment.EXPIRED_KEY,
    deployment.PLAIN_KEY,
    deployment.PAGE_KEY,
    deployment.APP_KEY,
    deployment.BOUND_KEY,
    deployment.IDLE_KEY,
)

Run = Callable[..., Result]


def run_on(app: Flask, *secrets: str) -> Run:
    """Return what runs `flask webcall …` on an application.

    It fails the test if an output holds a traceback, a sample key or its hash, or one of `secrets`.
    """
    runner = app.test_cli_runner()
    hidden = [SECRET, *secrets, *SAMPLE_KEYS, *map(hash_api_key, SAMPLE_KEYS)]

    def run(*arguments: str, answer: str | None = None, status: int = 0) -> Result:
        result = runner.invoke(args=["webcall", *arguments], input=answer)
        everything = result.output + result.stderr
        assert result.exit_code == status, everything
        assert "Traceback" not in everything
        assert not [secret for secret in hidden if secret in everything]
        return result

    return run


@pytest.fixture(params=["file", "mongo"])
def backend(request: pytest.FixtureRequest) -> str:
    """The backend in use, one that can be written to."""
    return str(request.param)


@pytest.fixture
def stored_app(backend: str, make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest) -> Flask:
    """The sample deployment in `backend`, without LiveKit."""
    return make_app(NO_LIVEKIT | store_records(backend, tmp_path, request))


@pytest.fixture
def run(stored_app: Flask) -> Run:
    """Runs commands on `stored_app`."""
    return run_on(stored_app)


@pytest.fixture
def works(stored_app: Flask) -> Callable[[str], bool]:
    """Tells whether a key is accepted over HTTP: an empty body is looked at behind that only."""
    client = stored_app.test_client()

    def ask(api_key: str) -> bool:
        status = client.post("/web_call/get_token", json={}, headers=bearer(api_key)).status_code
        assert status in (401, 422)
        return status == 422

    return ask


@pytest.fixture
def file_app(
    make_app: MakeApp, livekit_server: LiveKitServer, tmp_path: Path, request: pytest.FixtureRequest
) -> Flask:
    """The sample deployment in files, on the real LiveKit server."""
    return make_app(livekit_environment(livekit_server) | store_records("file", tmp_path, request))


@pytest.fixture
def env_app(make_app: MakeApp, tmp_path: Path, request: pytest.FixtureRequest) -> Flask:
    """The sample deployment in the environment, which is read-only, without LiveKit."""
    return make_app(NO_LIVEKIT | store_records("env", tmp_path, request))


def table(result: Result) -> list[list[str]]:
    """Return the cells of a printed table, its headings left out."""
    return [line.split() for line in result.stdout.splitlines()[1:]]


def loaded(result: Result) -> Any:
    """Return what `--json` printed."""
    return json.loads(result.stdout)
