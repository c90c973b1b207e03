"""A person's own login: the provider's signed token, checked, and what it says of the caller.

RFC 7519 and OpenID Connect Core say what stands in it, RFC 8725 what to beware of. What the token's header
says of keys elsewhere (`jku`, `x5u`, `jwk`, `x5c`) is never looked at.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt

from plugins.jwt.provider import Keys
from webcall import Caller, RecordError, Refused
from webcall.records import caller_from_record

LONGEST = 16_384
"""Characters of a token; a longer one is nobody's, and is not read."""

# PyJWT would pass over other characters, so that one login had many spellings.
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_KEYS = ("issuer", "jwks_url", "algorithms", "timeout_s", "refresh_s", "retry_s", "serve_stale_s", "ca_file")

log = logging.getLogger("plugins.jwt")


class Logins:
    """Knows the people who are signed in at one provider."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take the loaded settings. Opens nothing."""
        self._issuer: str = settings["issuer"]
        self._audience: list[str] = settings["audience"]
        self._algorithms: list[str] = settings["algorithms"]
        self._claims: Mapping[str, str] = settings["claims"]
        self._owner: str = settings["owner"]
        self._max_concurrent_calls: int | None = settings["max_concurrent_calls"]
        self._trust_unverified_email: bool = settings["trust_unverified_email"]
        self._required: Mapping[str, Any] = settings["required_claims"]
        self._leeway_s: float = settings["leeway_s"]
        self._keys = Keys(**{name: settings[name] for name in _KEYS})

    def validate(self, api_key: str) -> Caller | None:
        """Return whose login it is; None for what is no token of this issuer.

        Raises `Refused` for one of this issuer that may not be used, and `BackendError` while that
        cannot be told without the provider.
        """
        header = self._header_of_ours(api_key)
        if header is None:
            return None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms or "crit" in header:
            raise _refusal("algorithm")
        if not isinstance(key_id, str | None):
            raise _refusal("kid")
        key = self._keys.find(key_id, algorithm)
        if key is None:
            raise _refusal("unknown key")
        try:
            claims = jwt.decode(
                api_key,
                key.key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway_s,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            raise _refusal(type(error).__name__) from None
        return self._caller(claims)

    def ping(self) -> str | None:
        """Return a reason if the provider's kept keys are all there is; raise if there are none."""
        return self._keys.ping()

    def close(self) -> None:
        """End the thread that fetches keys."""
        self._keys.close()

    def _header_of_ours(self, token: str) -> dict[str, Any] | None:
        """Return the header of a token whose `iss`, unproved yet, is ours."""
        if len(token) > LONGEST or not _TOKEN.fullmatch(token):
            return None
        parts = token.split(".")
        header, claims = _part(parts[0]), _part(parts[1])
        return header if header is not None and claims and claims.get("iss") == self._issuer else None

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        for path, wanted in self._required.items():
            if not _has(_at(claims, path), wanted):
                raise _refusal(f"required claim {path}")
        subject = _text(_at(claims, self._claims["subject"]))
        owner = self._owner or self._owner_of(claims)
        if not owner or not subject:
            raise _refusal("a claim that says who calls is missing")
        record = {
            "user_email": owner,
            "user_name": _text(self._claim(claims, "name")),
            "org_name": self._claim(claims, "org"),
            "allowed_assistants": self._allowed(claims),
            "rate_limit": self._claim(claims, "rate_limit"),
            "max_concurrent_calls": self._max_concurrent_calls,
        }
        try:
            # The rules of a key's record are those of a login, too.
            caller = caller_from_record(record)
        except RecordError as error:
            raise RecordError(f"jwt: a login's claims, taken as a record: {error}") from None
        return replace(
            caller,
            key_id="jwt:" + hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:8],
            subject=subject,
            claims=dict(claims),
            expires_at=self._end(claims),
        )

    def _owner_of(self, claims: Mapping[str, Any]) -> str | None:
        path = self._claims["owner"]
        found = _text(_at(claims, path))
        if (path == "email" or path.endswith(".email")) and not self._trust_unverified_email:
            # Anybody can write somebody else's address into a form (OpenID Connect Core, section 5.7).
            verified = _at(claims, f"{path}_verified")
            if verified not in (None, True, "true"):  # some providers write it as text
                raise _refusal("email is not verified")
        return found

    def _end(self, claims: Mapping[str, Any]) -> datetime:
        try:
            return datetime.fromtimestamp(int(claims["exp"]) + self._leeway_s, UTC)
        except (ValueError, TypeError, OverflowError, OSError):
            raise _refusal("exp") from None

    def _claim(self, claims: Mapping[str, Any], which: str) -> Any:
        path = self._claims[which]
        return _at(claims, path) if path else None

    def _allowed(self, claims: Mapping[str, Any]) -> Any:
        if not self._claims["allowed_assistants"]:
            return None
        found = self._claim(claims, "allowed_assistants")
        # As OAuth writes scopes. Where the claim is looked for and absent, nothing is allowed.
        return found.split() if isinstance(found, str) else [] if found is None else found


def _text(found: Any) -> str | None:
    return found if isinstance(found, str) and found else None


def _refusal(why: str) -> Refused:
    # For the operator: a caller is told nothing but 401.
    log.info("login refused: %s", why)
    return Refused(why)


def _part(encoded: str) -> dict[str, Any] | None:
    try:
        found = json.loads(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """Return the claim of this name, or at the end of this path; None if there is none."""
    if path in claims:
        return claims[path]  # names with dots in them are common: https://example.com/roles
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _has(found: Any, wanted: Any) -> bool:
    """Return whether a claim is the wanted value, or one of those, or a list that holds it."""
    allowed = wanted if isinstance(wanted, list) else [wanted]
    there = found if isinstance(found, list) else [found]
    return found is not None and any(one in allowed and type(one) in map(type, allowed) for one in there)
