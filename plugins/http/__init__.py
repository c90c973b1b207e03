"""Backend `http`: a service of the company's own knows the keys and the assistants.

What is asked of it stands in docs/http-backend.md and docs/http-backend.openapi.yaml.
"""

from __future__ import annotations

from typing import Any

from plugins.http.settings import HttpSettings
from webcall import Backend, hookimpl
from webcall.interfaces import CacheSettings

DESCRIPTION = "a service of your own, asked by two signed requests"
# Each call costs it two requests otherwise, and its restart calls. Half a minute is what a revoked key may
# go on for; strangers' guesses are repeated within seconds if at all.
CACHE = CacheSettings(cache_s=30, negative_cache_s=5, stale_if_error_s=300)


def _client(settings: dict[str, Any]) -> Any:
    from plugins.http.client import Client

    return Client(**settings)


def _keys(settings: dict[str, Any]) -> Any:
    from plugins.http.lookups import HttpKeys

    send_key = settings.pop("send") == "key"
    return HttpKeys(_client(settings), send_key=send_key)


def _assistants(settings: dict[str, Any]) -> Any:
    from plugins.http.lookups import HttpAssistants

    settings.pop("send")
    return HttpAssistants(_client(settings))


@hookimpl
def webcall_key_validators() -> list[Backend]:
    """Offer the keys that the service knows."""
    return [Backend("http", DESCRIPTION, HttpSettings, _keys, CACHE)]


@hookimpl
def webcall_assistant_stores() -> list[Backend]:
    """Offer the assistants that the service knows."""
    return [Backend("http", DESCRIPTION, HttpSettings, _assistants, CACHE)]
