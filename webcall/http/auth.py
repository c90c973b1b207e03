"""Authentication: the bearer token of a request, and whose it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from webcall.core.lookup import KeyRing
from webcall.core.permissions import check_origin
from webcall.core.services import Services
from webcall.errors import Unauthorized
from webcall.http import current
from webcall.http.addresses import client_address
from webcall.http.limits import limits
from webcall.http.requests import note
from webcall.interfaces import Caller

SCHEME = "bearer"


def services() -> Services:
    """Return the services of the application that answers."""
    return cast(Services, current.application().extensions["webcall"])


def caller() -> Caller:
    """Return who was authenticated for this request."""
    return cast(Caller, current.kept().caller)


def authenticated(view: Callable[..., Any], *, sandbox_id: bool = False) -> Callable[..., Any]:
    """Let a view run for a valid API key only, inside a place of the gate.

    With `sandbox_id`, a publishable key in the header X-Sandbox-Id is taken where Authorization is absent.

    It goes above the decorator that reads the body, so that a stranger's body is never looked at.
    The gate comes first: a backend that hangs holds request threads as LiveKit does.
    """

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        asked = services()
        with asked.gate.enter():
            try:
                who = current.kept().caller = _authenticate(asked.key_ring, sandbox_id)
            except Unauthorized:
                limits().failed_authentication(client_address())
                raise
            note(owner=who.email, key=who.key_id)
            same_origin = current.header("Sec-Fetch-Site") == "same-origin"
            check_origin(who, current.header("Origin"), same_origin=same_origin)
            limits().request(who, client_address())
            return view(*args, **kwargs)

    return wrapper


def _authenticate(key_ring: KeyRing, sandbox_id: bool) -> Caller:
    sent = current.header("X-Sandbox-Id") if sandbox_id else None
    if sent is None or current.header("Authorization") is not None:
        return key_ring.authenticate(bearer_token())
    found = key_ring.authenticate(_as_sent(sent.strip(" ")))
    if not found.publishable:
        # LiveKit's starter apps put this header into the page: no place for a secret.
        raise Unauthorized
    return found


def bearer_token() -> str:
    """Return the token of the Authorization header (RFC 6750, section 2.1), its scheme in any case.

    Raises `Unauthorized` if there is none, or if the header is something else.
    """
    scheme, _, token = (current.header("Authorization") or "").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != SCHEME or not token:
        raise Unauthorized
    return _as_sent(token)


def _as_sent(header: str) -> str:
    try:
        # WSGI gives headers as latin-1; a key's hash is of its UTF-8.
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise Unauthorized from None
