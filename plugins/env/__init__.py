"""Backend `env`: API keys and assistants from environment variables, read once at start-up."""

from __future__ import annotations

from plugins.env.lookups import EnvAssistants, EnvKeys
from plugins.env.settings import EnvSettings
from webcall import Backend, hookimpl

DESCRIPTION = "environment variables WEBCALL_API_KEYS, WEBCALL_API_KEY and WEBCALL_ASSISTANTS; read-only"


@hookimpl
def webcall_key_validators() -> list[Backend]:
    """Offer the keys of `WEBCALL_API_KEYS` and `WEBCALL_API_KEY`."""
    return [Backend("env", DESCRIPTION, EnvSettings, lambda settings: EnvKeys(settings["api_keys"]))]


@hookimpl
def webcall_assistant_stores() -> list[Backend]:
    """Offer the assistants of `WEBCALL_ASSISTANTS`."""
    return [Backend("env", DESCRIPTION, EnvSettings, lambda settings: EnvAssistants(settings["assistants"]))]
