"""Fixtures of real servers, for every test."""

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
