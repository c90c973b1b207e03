"""What every answer of the watcher has, whoever asked for whatever: the envelope, its headers, an end.

aiohttp answers errors in plain text, logs a traceback for each malformed request, quotes it in its answer,
and waits an hour for the rest of one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from webcall.core.answer_headers import EVERYWHERE, REQUEST_ID, new_request_id, readable_id

log = structlog.stdlib.get_logger("webcall.watch")

# For a head, and for a body. Connections without a request are kept as long: of these LiveKit opens another.
PATIENCE_S = 10.0
# How long what is not read is taken in, so that who sends it gets to read the answer.
_LINGERING_S = 2.0
# As the service's own limit of a header.
_LONGEST_HEADER = 65536
_UNREADABLE = "The request cannot be understood."
_MESSAGES = {
    404: "There is nothing at this address.",
    405: "This address does not take this method; the Allow header lists those that it takes.",
    408: "The request did not come whole in time. Send it again.",
    413: "The request's body is larger than 64 KiB.",
    500: "The request could not be carried out.",
}


def answer(
    status: int, message: str, headers: dict[str, str] | None = None, data: dict[str, Any] | None = None
) -> web.Response:
    """Return an answer in the envelope."""
    body = {"success": status < 300, "message": message, "data": data or {}}
    return web.json_response(body, status=status, headers=headers)


@web.middleware
async def on_every_answer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer errors in the envelope, and put the headers on every answer."""
    try:
        given = await handler(request)
    except web.HTTPException as error:
        kept = {name: value for name, value in error.headers.items() if name == "Allow"}
        given = answer(error.status, _MESSAGES.get(error.status, _UNREADABLE), kept)
    except TimeoutError:
        given = _last(408)
    except (web.RequestPayloadError, ConnectionError):
        # A body that is malformed or broke off.
        given = _last(400)
    return _with_headers(request, given)


class HardenedRunner(web.AppRunner):
    """Serves an application that has `on_every_answer`."""

    def __init__(self, app: web.Application, patience_s: float, shutdown_timeout: float) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout, handle_signals=False)
        self._patience_s = patience_s

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            access_log=None,
            # It ends a connection that has not sent a whole head by then, too.
            keepalive_timeout=self._patience_s,
            lingering_time=_LINGERING_S,
            max_field_size=_LONGEST_HEADER,
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never came to the application, or broke in it."""
        if status == 400:
            # Without what is malformed: it may hold a key.
            log.warning("invalid request", address=request.remote)
        else:
            # It writes the log's line, and raises if an answer has begun.
            super().handle_error(request, status, exc, message)
        return _with_headers(request, _last(status))


def _last(status: int) -> web.Response:
    given = answer(status, _MESSAGES.get(status, _UNREADABLE))
    given.force_close()
    return given


def _with_headers(request: web.BaseRequest, given: web.StreamResponse) -> web.StreamResponse:
    given.headers[REQUEST_ID] = readable_id(request.headers.get(REQUEST_ID, "")) or new_request_id()
    given.headers["Cache-Control"] = "no-store"
    given.headers.update(EVERYWHERE)
    return given
