"""Schemathesis: the running service is held to its own OpenAPI document, with all of its checks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support.deployment import OWNER, ROOT, Service, livekit_environment, store_records
from tests.support.fuzzing import EXAMPLES
from tests.support.livekit import LiveKitServer
from webcall.records import hash_api_key

# One assistant, which `{}` of token_source then means.
KEY = "lvk_fuzzed_" + "f" * 36


@pytest.fixture
def service(
    livekit_server: LiveKitServer,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    make_service: Callable[[Mapping[str, str]], Service],
) -> Service:
    """The sample deployment under gunicorn, on the real LiveKit server, with a key that may ask often."""
    records = store_records("file", tmp_path, request)
    keys = Path(records["WEBCALL_API_KEYS_FILE"])
    own = {"api_key_hash": hash_api_key(KEY), "user_email": OWNER, "allowed_assistants": ["helper"]}
    keys.write_text(json.dumps([*json.loads(keys.read_text()), own]))
    often = {"WEBCALL_LIMIT_PER_KEY": "off", "WEBCALL_LIMIT_FAILED_AUTH": "off"}
    return make_service(livekit_environment(livekit_server) | records | often)


@pytest.mark.timeout(3600)
def test_the_service_does_what_its_document_says(service: Service, tmp_path: Path) -> None:
    """Thousands of requests, good and bad by the document: each answer is one that the document has."""
    command = [sys.executable, "-m", "schemathesis.cli"]
    command += ["--config-file", "tests/fuzz/schemathesis.toml", "run", f"{service.url}/openapi.json"]
    command += ["--checks", "all", "--no-color", "--max-examples", str(EXAMPLES.requests)]
    command += ["--generation-deterministic"] if EXAMPLES.same else []
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "API_KEY": KEY, "REPORTS": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [generated] = re.findall(r"(\d+) generated", ran.stdout)
    print(f"{generated} requests")
    # 5 operations with their phases: fewer would mean that most of it was skipped.
    assert int(generated) > 200
    assert "5 selected / 5 total" in ran.stdout
    log = service.log.read_text()
    assert '"level": "error"' not in log
    assert "Traceback" not in log
