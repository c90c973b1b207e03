"""Backend `jwt`: the login that a person has already, at an OpenID Connect provider, is the key.

The driver is imported when the backend is in use, so that a deployment without it needs no extra.
"""

from __future__ import annotations

from typing import Any

from plugins.jwt.settings import JwtSettings
from webcall import Backend, hookimpl

DESCRIPTION = "logins of an OpenID Connect provider, by its signed tokens"


def _logins(settings: dict[str, Any]) -> Any:
    from plugins.jwt.logins import Logins

    return Logins(settings)


@hookimpl
def webcall_key_validators() -> list[Backend]:
    """Offer the people who are signed in at the provider."""
    return [Backend("jwt", DESCRIPTION, JwtSettings, _logins)]
