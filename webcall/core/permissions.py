"""What a valid API key may do: from where it is used, and which metadata goes with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from webcall.errors import InvalidMetadata, OriginForbidden
from webcall.interfaces import Caller
from webcall.origins import is_allowed
from webcall.records import PUBLISHABLE_PREFIX

PUBLISHABLE_NEEDS = "a publishable key needs allowed_assistants, and allowed_origins or native"

_NAMES_SHOWN = 20


def as_presented(caller: Caller, api_key: str) -> Caller:
    """Return the caller of the key that was sent, publishable if the key itself says so.

    A record need not know: one that was written by hand may hold the hash alone, without a prefix,
    and a backend of somebody else's may not look.
    """
    if api_key.startswith(PUBLISHABLE_PREFIX) and not caller.publishable:
        return replace(caller, publishable=True)
    return caller


def lacks_restrictions(caller: Caller) -> bool:
    """Return whether a publishable key is without what it needs: see `PUBLISHABLE_NEEDS`."""
    return caller.publishable and not (
        caller.allowed_assistants and (caller.allowed_origins or caller.native)
    )


def check_origin(caller: Caller, origin: str | None, *, same_origin: bool) -> None:
    """Raise `OriginForbidden` unless the key may be used from where a request comes.

    `origin` is the `Origin` header, None if there is none; `same_origin` tells whether the browser
    said `Sec-Fetch-Site: same-origin`, since it sends no `Origin` with a page's GET to its own host.
    A browser's word binds pages; any program can send what it likes, so that this authenticates nobody.
    """
    if origin is None:
        # A secret key belongs on servers, which send none.
        if caller.publishable and not (caller.native or same_origin):
            raise OriginForbidden
        return
    # An app on a phone sends no origin: a native key that names none may stand in no page.
    allowed = () if caller.publishable and caller.allowed_origins is None else caller.allowed_origins
    if allowed is not None and not is_allowed(origin, allowed):
        raise OriginForbidden


def check_metadata_names(caller: Caller, metadata: Mapping[str, Any]) -> None:
    """Raise `InvalidMetadata` if the metadata has a name that the key does not allow.

    Names are those of the outermost object. A publishable key without a list allows none: what a
    page sends goes into the prompt.
    """
    allowed = caller.allowed_metadata
    if allowed is None:
        if not caller.publishable:
            return
        allowed = frozenset()
    if metadata.keys() <= allowed:
        return
    if not allowed:
        raise InvalidMetadata("This API key allows no metadata: send the request without it.")
    raise InvalidMetadata(f"This API key allows these names only: {_listed(allowed)}.")


def _listed(names: Iterable[str]) -> str:
    # Of the key's own list, never of what was sent: that is the caller's content.
    first = sorted(names)
    more = f" and {len(first) - _NAMES_SHOWN} more" if len(first) > _NAMES_SHOWN else ""
    return ", ".join(first[:_NAMES_SHOWN]) + more
