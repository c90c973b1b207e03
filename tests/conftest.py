"""Fixtures of real servers, for every test, and how Hypothesis goes about its examples."""

from hypothesis import HealthCheck, settings

# On a machine that does other things, too, the time that an example takes says nothing of the code.
settings.register_profile("webcall", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("webcall")

pytest_plugins = [
    "tests.support.livekit",
    "tests.support.mongo",
    "tests.support.oidc",
    "tests.support.postgres",
    "tests.support.redis",
    "tests.support.toxiproxy",
    "tests.support.chromium",
    "tests.support.deployment",
    "tests.support.watch",
    "tests.support.worker",
]
