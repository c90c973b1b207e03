"""A provider that tests script, and the backend that trusts it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from plugins.jwt.logins import Logins
from plugins.jwt.settings import JwtSettings
from tests.support.oidc import ScriptedProvider
from tests.support.tokens import AUDIENCE, key_set


@pytest.fixture
def provider(scripted_provider: ScriptedProvider) -> ScriptedProvider:
    """A provider with a key of each kind."""
    scripted_provider.keys = key_set()
    return scripted_provider


@pytest.fixture
def make(provider: ScriptedProvider) -> Iterator[Any]:
    """Make the backend, with some settings changed."""
    made: list[Logins] = []

    def make(**settings: Any) -> Logins:
        values = {"issuer": provider.issuer, "audience": AUDIENCE, "timeout_s": 2, "leeway_s": 5}
        made.append(Logins(JwtSettings().load({**values, **settings})))
        return made[-1]

    yield make
    provider.hold.set()
    for one in made:
        one.close()
