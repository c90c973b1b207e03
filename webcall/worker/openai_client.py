"""OpenAI's client for the plugin, with a bound on how long it may wait. Imported when needed, or ahead."""

from __future__ import annotations

from typing import Any

import httpx2
import openai

# Else imported at the first request, which takes 0.1 s.
import openai.resources.audio
import openai.resources.chat.completions.completions
import openai.resources.models
from openai._base_client import get_platform

# How long OpenAI may keep a call waiting. For speech the plugin has 30 s of its own, whatever the session's
# connection options say (livekit/plugins/openai/tts.py, stt.py): a minute, tried twice.
TIMEOUT_S = 8.0

# Read once: the authorities' certificates take some 20 ms, in each call and for each client.
_TLS = httpx2.create_ssl_context()
# The plugin's own: between two turns of a talk a connection stays.
_LIMITS = httpx2.Limits(max_connections=50, max_keepalive_connections=50, keepalive_expiry=120)
_PLATFORM = get_platform()


def patient_client(
    api_key: str, base_url: str | None = None, *, socket: str | None = None
) -> openai.AsyncClient:
    """Return an OpenAI client whose requests wait no longer than `TIMEOUT_S` for a next byte.

    With `socket` they go to that Unix socket, whatever `base_url` says. The plugin closes no client that it
    is given: this one ends with the call's process.
    """

    async def bound(request: Any) -> None:
        limits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            name: TIMEOUT_S if limit is None else min(limit, TIMEOUT_S) for name, limit in limits.items()
        }

    http_client = httpx2.AsyncClient(
        verify=_TLS,
        limits=_LIMITS,
        event_hooks={"request": [bound]},
        follow_redirects=True,
        transport=httpx2.AsyncHTTPTransport(uds=socket) if socket else None,
    )
    client = openai.AsyncClient(max_retries=0, api_key=api_key, base_url=base_url, http_client=http_client)
    # Else a thread is started to find it out, before each client's first request.
    client._platform = _PLATFORM
    return client
