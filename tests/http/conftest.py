"""What several tests of the HTTP side stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import frontend
from tests.support import programs
from tests.support.deployment import store_records
from tests.support.fake_livekit import FakeLiveKit


@pytest.fixture
def environment(fake_livekit: FakeLiveKit, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The sample deployment, on a stand-in for LiveKit."""
    return fake_livekit.environment | store_records("env", tmp_path, request)


@pytest.fixture(scope="session")
def library() -> Path:
    """LiveKit's library for browsers."""
    try:
        return frontend.ensure_library()
    except frontend.NoFrontend as error:
        programs.without("livekit-client", str(error))
