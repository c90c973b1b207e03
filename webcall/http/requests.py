"""What every request gets: an id, its headers, and its one line in the log."""

from __future__ import annotations

import logging
import time

from flask import Flask, Response

from webcall import request_log
from webcall.core import caller_keys
from webcall.core.answer_headers import REQUEST_ID
from webcall.http import current

log = logging.getLogger("webcall.request")


def init_app(app: Flask) -> None:
    """Give ids to requests, and headers and log lines to answers."""
    app.before_request(_begin)
    app.after_request(_finish)


def request_id() -> str:
    """Return the id of the request that is being answered."""
    known: str | None = current.kept().get("request_id")
    return known or _begin_id()


def note(**fields: str | None) -> None:
    """Add fields to the request's log lines: owner, assistant, room. Never what a caller sent beside."""
    given = _keys_given()
    told = {
        name: None if value is None else caller_keys.without_keys(value, given)
        for name, value in fields.items()
    }
    request_log.add(**told)


def without_keys(text: str) -> str:
    """Return `text` with what looks like an API key, or is the one of this request, blotted out."""
    return caller_keys.without_keys(text, _keys_given())


def _keys_given() -> tuple[str, ...]:
    """Return what stands in this request in the place of a key."""
    kept = current.kept()
    known: tuple[str, ...] | None = kept.get("keys_given")
    if known is None:
        known = kept.keys_given = caller_keys.keys_given(
            current.header("Authorization") or "", current.header("X-Sandbox-Id") or ""
        )
    return known


def _begin() -> None:
    current.kept().started = time.perf_counter()
    request_log.begin(request_id=_begin_id())


def _begin_id() -> str:
    chosen = caller_keys.id_of(current.header(REQUEST_ID) or "", _keys_given())
    current.kept().request_id = chosen
    return chosen


def _finish(response: Response) -> Response:
    response.headers[REQUEST_ID] = request_id()
    request, started = current.request(), current.kept().get("started")
    request_log.tell(
        log,
        "request",
        method=request.method,
        # The rule and not the path: a path may hold what a caller should not have put there.
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        ms=round((time.perf_counter() - started) * 1000, 2) if started else None,
    )
    request_log.end()
    return response
