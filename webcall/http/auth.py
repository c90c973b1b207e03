"""Authentication: the bearer token of a request, and whose it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from flask import current_app, g, request

from webcall.core.services import Services
from webcall.errors import Unauthorized
from webcall.http.requests import note
from webcall.interfaces import Caller

SCHEME = "bearer"


def services() -> Services:
    """Return the services of the application that answers."""
    return cast(Services, current_app.extensions["webcall"])


def caller() -> Caller:
    """Return who was authenticated for this request."""
    return cast(Caller, g.caller)


def authenticated(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let a view run for a valid API key only, inside a place of the gate.

    It goes above the decorator that reads the body, so that a stranger's body is never looked at.
    The gate comes first: a backend that hangs holds request threads as LiveKit does.
    """

    @wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with services().gate.enter():
            g.caller = services().key_ring.authenticate(bearer_token())
            note(owner=g.caller.email, key=g.caller.key_id)
            return view(*args, **kwargs)

    return wrapper


def bearer_token() -> str:
    """Return the token of the Authorization header (RFC 6750, section 2.1), its scheme in any case.

    Raises `Unauthorized` if there is none, or if the header is something else.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip(" ")
    if scheme.lower() != SCHEME or not token:
        raise Unauthorized
    try:
        # WSGI gives headers as latin-1; a key's hash is of its UTF-8.
        return token.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise Unauthorized from None
