"""What every answer carries, the service's and the watcher's: no cache, an id, and how browsers treat it.

Sources: the OWASP REST Security Cheat Sheet, and CSP level 3. Strict-Transport-Security is for the proxy
that speaks TLS.
"""

from __future__ import annotations

import os
import random
import re

POLICY = "Content-Security-Policy"
RESOURCE_POLICY = "Cross-Origin-Resource-Policy"
REQUEST_ID = "X-Request-ID"

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# Scripts of other origins read answers by CORS, which the resource policy does not touch: it keeps them
# from being drawn into a page as an image or a script.
EVERYWHERE = {
    POLICY: _NOTHING,
    RESOURCE_POLICY: "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
}

# What begins like a key of this service does not get into a log, wherever a caller puts it.
# A key, or the beginning of a signed token (JSON Web Token): `{"` in Base64 is `eyJ`.
LIKE_A_KEY = re.compile(r"lv[kp]_[A-Za-z0-9_-]{12,}|eyJ[A-Za-z0-9_-]{12,}[A-Za-z0-9_.-]*")
# Not the module's own generator, of which ids would tell something, and which a plugin may seed.
_ids = random.Random()  # noqa: S311  # nosec B311  # for no secrets
# Workers are forked, and would all go on with the same ids.
os.register_at_fork(after_in_child=_ids.seed)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


def new_request_id() -> str:
    """Return an id that no other request has, 32 hex digits. It is no secret: who guesses it gets nothing.

    Asking the system for random bytes lets go of the interpreter's lock, for which all threads then compete.
    """
    return f"{_ids.getrandbits(128):032x}"


def readable_id(given: str) -> str | None:
    """Return a caller's own X-Request-ID if it can be one, and is not like a key."""
    return given if _REQUEST_ID.match(given) and not LIKE_A_KEY.search(given) else None
