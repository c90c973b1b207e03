"""Fixtures of real servers, for every test, how Hypothesis goes about its examples, and how a run ends."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# On a machine that does other things, too, the time that an example takes says nothing of the code.
settings.register_profile("webcall", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("webcall")

pytest_plugins = [
    "tests.support.fake_livekit",
    "tests.support.livekit",
    "tests.support.mongo",
    "tests.support.oidc",
    "tests.support.postgres",
    "tests.support.redis",
    "tests.support.toxiproxy",
    "tests.support.chromium",
    "tests.support.deployment",
    "tests.support.accessibility",
    "tests.support.peer",
    "tests.support.make_run",
    "tests.support.names",
    "tests.support.watch",
    "tests.support.worker",
]

_session = pytest.StashKey[pytest.Session]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Keep the session, which knows at the end what the run came to."""
    session.config.stash[_session] = session


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End without the interpreter's own end where LiveKit's client has been used.

    One of its threads that tells Python of something while the interpreter ends is stopped by it, which
    Rust answers by aborting the process: a run whose tests have all passed would end with SIGABRT.
    """
    session = config.stash.get(_session, None)
    if session is None or "livekit.rtc" not in sys.modules:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(session.exitstatus))
