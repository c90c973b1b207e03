"""What several tests of the HTTP side stand on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployment import store_records
from tests.support.fake_livekit import FakeLiveKit


@pytest.fixture
def environment(fake_livekit: FakeLiveKit, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The sample deployment, on a stand-in for LiveKit."""
    return fake_livekit.environment | store_records("env", tmp_path, request)
