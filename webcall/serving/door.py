"""What the worker process says itself, without a thread and without the application: 503, busy."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import unquote_to_bytes

import structlog
from gunicorn.util import http_date

from webcall.core.answer_headers import EVERYWHERE, REQUEST_ID
from webcall.core.caller_keys import id_of, keys_given
from webcall.core.gate import RETRY_AFTER_S
from webcall.core.services import Services
from webcall.http.cors import EXPOSED_HEADERS
from webcall.http.envelope import envelope
from webcall.http.errors import BUSY, FAILED, NOT_UNDERSTOOD
from webcall.origins import is_allowed

log = structlog.stdlib.get_logger("webcall.serving")

# As it stands in the counts where no route was looked for.
TURNED_AWAY = "turned away"
# An overload is over when nobody was turned away for so long.
_QUIET_S = 1.0

_HEADER = re.compile(
    rb"\r\n(x-request-id|origin|authorization|x-sandbox-id):[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE
)
# Of an absolute-form target (RFC 9112, 3.2.2).
_ORIGIN = re.compile(rb"\Ahttps?://[^/?#]*", re.IGNORECASE)
_CALLS = b"/web_call/"
# So much of a request is looked at before it has a thread, which reads the rest as it comes.
LOOKED_AT = 16384
_EXPECT = re.compile(rb"\r\nexpect:", re.IGNORECASE)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*(?=\r\n|\Z)", re.IGNORECASE)


class Door:
    """Knows calls from other requests, and turns them away."""

    def __init__(self, services: Services) -> None:
        self._counters = services.counters
        self._gate = services.gate
        self._cors = services.config.http.cors_origins
        self._body = json.dumps(envelope(BUSY, success=False)).encode()
        fixed = {
            "Content-Type": "application/json",
            "Content-Length": str(len(self._body)),
            "Connection": "close",
            "Cache-Control": "no-store",
            "Retry-After": str(RETRY_AFTER_S),
            **EVERYWHERE,
        }
        self._head = b"HTTP/1.1 503 Service Unavailable\r\n" + _lines(fixed)
        self._exposed = ", ".join(EXPOSED_HEADERS)
        self._began: float | None = None
        self._last = 0.0
        self._count = 0

    @property
    def places(self) -> int:
        """How many calls may have a thread at once."""
        return self._gate.places

    @staticmethod
    def is_call(beginning: bytes) -> bool:
        """Return whether a request that begins so may wait for LiveKit or a store."""
        if beginning.startswith(b"OPTIONS "):
            # A preflight, without which a page's script would not see the 503 either.
            return False
        target = beginning.partition(b" ")[2].partition(b" ")[0]
        if target.startswith(_CALLS):
            return True
        # Routing takes any slashes before a path: those of a base address that ends with one, say.
        return (b"/" + unquote_to_bytes(_ORIGIN.sub(b"", target)).lstrip(b"/")).startswith(_CALLS)

    @staticmethod
    def is_whole(sent: bytes) -> bool:
        """Return whether this is a whole request, so that nothing more is to come; False where in doubt."""
        head, end, body = sent.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return bool(end) and len(body) == (int(length[1]) if length else 0) and b"chunked" not in head.lower()

    @staticmethod
    def has_come(sent: bytes) -> bool:
        """Return whether so much of a request is here that a thread need not wait for the client.

        That is its head, and its body as far as it is looked at; without the body where that comes in chunks
        or waits to be asked for.
        """
        head, end, body = sent.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or _EXPECT.search(head):
            return bool(end)
        return len(body) >= int(length[1]) or len(sent) >= LOOKED_AT

    def answer(self, sent: bytes) -> bytes:
        """Count a request of which this much has come, and return the whole answer to it."""
        self._note()
        # Of the head alone: what stands behind it is the caller's content, or the next request's head.
        head = sent.partition(b"\r\n\r\n")[0] + b"\r\n"
        found = {name.lower(): value.decode("latin-1") for name, value in _HEADER.findall(head)}
        keys = keys_given(found.get(b"authorization", ""), found.get(b"x-sandbox-id", ""))
        own = {"Date": http_date(), REQUEST_ID: id_of(found.get(b"x-request-id", ""), keys)}
        own |= self._cors_headers(found.get(b"origin", ""))
        body = b"" if sent.startswith(b"HEAD ") else self._body
        return self._head + _lines(own) + b"\r\n" + body

    def _cors_headers(self, origin: str) -> dict[str, str]:
        """Let a page's script read the answer, as webcall.http.cors does."""
        if not self._cors:
            return {}
        if self._cors == ("*",):
            return {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": self._exposed}
        if not is_allowed(origin, self._cors):
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": self._exposed,
            "Vary": "Origin",
        }

    def _note(self) -> None:
        self._last = time.monotonic()
        self._count += 1
        self._counters.requests.labels(TURNED_AWAY, "503").inc()
        self._counters.refused.labels("busy").inc()
        if self._began is None:
            self._began = self._last
            log.warning("overloaded: requests are turned away")

    def look(self, now: float) -> None:
        """Tell the end of an overload."""
        if self._began is not None and now - self._last > _QUIET_S:
            log.warning("overload is over", turned_away=self._count, for_s=round(self._last - self._began, 1))
            self._began, self._count = None, 0


class ErrorPage:
    """A socket, to gunicorn, that keeps the page that is written about a request that cannot be read."""

    def __init__(self) -> None:
        self.content = bytearray()

    def gettimeout(self) -> float:
        """Say that it does not block."""
        return 0.0

    def sendall(self, content: bytes) -> None:
        """Keep it."""
        self.content += content


def not_understood(page: bytes, request_id: str) -> bytes:
    """Return the answer in place of a page of gunicorn's: its status, and nothing else of it."""
    status = page.partition(b"\r\n")[0] or b"HTTP/1.1 400 Bad Request"
    ours = status.startswith(b"HTTP/1.1 500")
    told = FAILED.format(id=request_id) if ours else NOT_UNDERSTOOD
    data = {"request_id": request_id} if ours else None
    body = json.dumps(envelope(told, data, success=False)).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Date": http_date(),
        "Connection": "close",
        "Cache-Control": "no-store",
        REQUEST_ID: request_id,
        **EVERYWHERE,
    }
    return status + b"\r\n" + _lines(headers) + b"\r\n" + body


def _lines(headers: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
