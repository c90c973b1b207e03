"""What is signed: HMAC-SHA256 over the time, a nonce, what is asked, and the body. Pure.

A request cannot be forged, nor sent again after `WINDOW_S` or to ask something else; an answer holds for the
one request with its nonce. The service keeps the nonces of the last `2 * WINDOW_S` seconds and refuses
repeats.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

REQUEST_HEADER = ANSWER_HEADER = "Webcall-Signature"
WINDOW_S = 60

_SIGNED_ANSWER = re.compile(r"v1=([0-9a-f]{64})")


def sign_request(secret: str, what: str, body: bytes, *, now_s: int, nonce: str) -> str:
    """Return a request's header: `t=1767225600,n=<nonce>,v1=<hex>`."""
    head = f"request\n{what}\n{now_s}\n{nonce}\n"
    return f"t={now_s},n={nonce},v1={_hmac(secret, head, body)}"


def is_signed_answer(
    secrets: Sequence[str], header: str, what: str, body: bytes, *, status: int, nonce: str
) -> bool:
    """Return whether one of the secrets signed this answer to the request with this nonce."""
    found = _SIGNED_ANSWER.fullmatch(header)
    if found is None:
        return False
    message = f"answer\n{what}\n{status}\n{nonce}\n"
    # All of them, so that the time does not tell which.
    return any([hmac.compare_digest(found[1], _hmac(secret, message, body)) for secret in secrets])  # noqa: C419


def _hmac(secret: str, head: str, body: bytes) -> str:
    return hmac.digest(secret.encode(), head.encode() + body, "sha256").hex()
