"""How `flask webcall check` asks the deployment's other programs, at addresses of the settings."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping

_WITHIN_S = 2.0
_MOST_BYTES = 1 << 20
# Nothing here leaves the machine, or what an operator has written: no proxy of the environment between.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def read(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """Return what answers at an address; with a body, to a POST.

    Raises `urllib.error.HTTPError` for an answer that is none, and another `OSError` for no answer.
    """
    request = urllib.request.Request(url, body, dict(headers or {}))  # noqa: S310  # the settings' own
    with _OPENER.open(request, timeout=_WITHIN_S) as answer:
        told: bytes = answer.read(_MOST_BYTES)
    return told
