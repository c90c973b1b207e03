"""What every request gets: an id, its headers, and its one line in the log."""

from __future__ import annotations

import logging
import time

from flask import Flask, Response

from webcall import request_log
from webcall.core.answer_headers import LIKE_A_KEY, REQUEST_ID, new_request_id, readable_id
from webcall.http import current

# Of an existing deployment's keys; a shorter one would blot out half of every line.
_SHORTEST_KEY = 6

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
    request_log.add(
        **{name: None if value is None else _blotted(value, given) for name, value in fields.items()}
    )


def without_keys(text: str) -> str:
    """Return `text` with what looks like an API key, or is the one of this request, blotted out."""
    return _blotted(text, _keys_given())


def _blotted(text: str, keys: tuple[str, ...]) -> str:
    text = LIKE_A_KEY.sub("[key]", text)
    if not text.isprintable():
        # A log may be read in a terminal, which obeys control characters.
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    for key in keys:
        text = text.replace(key, "[key]")
    return text


def _keys_given() -> tuple[str, ...]:
    """Return what stands in this request in the place of a key, but for what is too short to blot out."""
    kept = current.kept()
    known: tuple[str, ...] | None = kept.get("keys_given")
    if known is None:
        bearer = (current.header("Authorization") or "").partition(" ")[2].strip()
        given = (bearer, (current.header("X-Sandbox-Id") or "").strip())
        known = kept.keys_given = tuple(one for one in given if len(one) > _SHORTEST_KEY)
    return known


def _begin() -> None:
    current.kept().started = time.perf_counter()
    request_log.begin(request_id=_begin_id())


def _begin_id() -> str:
    given = readable_id(current.header(REQUEST_ID) or "")
    chosen = given if given and without_keys(given) == given else new_request_id()
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
