"""What every request gets: an id, its headers, and its one line in the log."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

log = structlog.stdlib.get_logger("webcall.request")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")


def init_app(app: Flask) -> None:
    """Give ids to requests, and headers and log lines to answers."""
    app.before_request(_begin)
    app.after_request(_finish)


def request_id() -> str:
    """Return the id of the request that is being answered."""
    known: str | None = g.get("request_id")
    return known or _begin_id()


def note(**fields: str | None) -> None:
    """Add fields to the request's log lines: owner, assistant, room. Never what a caller sent beside."""
    structlog.contextvars.bind_contextvars(**fields)


def _begin() -> None:
    g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=_begin_id())


def _begin_id() -> str:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
    return str(g.request_id)


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = request_id()
    # Pages with hashed files set their own rule; everything else may hold a token.
    response.headers.setdefault("Cache-Control", "no-store")
    started = g.get("started")
    log.info(
        "request",
        method=request.method,
        # The rule and not the path: a path may hold what a caller should not have put there.
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        ms=round((time.perf_counter() - started) * 1000, 2) if started else None,
    )
    structlog.contextvars.clear_contextvars()
    return response
