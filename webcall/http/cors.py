"""CORS: which pages' scripts may read answers (Fetch standard, "HTTP CORS protocol").

It opens nothing: a browser sends no credentials along, and a key's own origins decide what it may do.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, Response
from flask_cors import CORS, cross_origin

from webcall.http import current
from webcall.origins import origin_pattern

ALLOWED_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Sandbox-Id", "X-Request-ID")
ALLOW_ORIGIN = "Access-Control-Allow-Origin"
EXPOSED_HEADERS = ("Retry-After", "X-Request-ID")
# How long a browser keeps a preflight's answer; Chromium takes two hours at most.
_MAX_AGE_S = 7200
_EVERYBODY = ("*",)


def for_scripts(origins: tuple[str, ...]) -> dict[str, str]:
    """Return the headers by which scripts of every page may read an answer; none unless `origins` are all.

    They are the same for each answer, and flask-cors would find them out each time.
    """
    if origins != _EVERYBODY:
        return {}
    return {ALLOW_ORIGIN: "*", "Access-Control-Expose-Headers": ", ".join(EXPOSED_HEADERS)}


def is_hidden(path: str) -> bool:
    """Return whether no page may read the answer: that of /metrics, before which routing takes any slashes.

    No page has a use for it, and one that is open inside of a company's network could read it.
    """
    return path.lstrip("/") == "metrics"


def init_app(app: Flask, origins: tuple[str, ...], more_headers: tuple[str, ...] = ()) -> None:
    """Answer preflights for every address, and let scripts of the pages in `origins` read every answer.

    Without origins, neither; where they are all, `for_scripts` is what lets them read.

    `origins` are `http.cors_origins`, which the settings' schema has checked; `more_headers` are those that
    scripts may send beside `ALLOWED_HEADERS`.
    """
    if not origins:
        return
    everybody = origins == _EVERYBODY
    # flask-cors takes plain text with brackets in it for a regular expression.
    allowed = "*" if everybody else [_expression(text) for text in origins]
    options: dict[str, Any] = {
        "origins": allowed,
        "methods": ["GET", "POST"],
        "allow_headers": [*ALLOWED_HEADERS, *more_headers],
        "expose_headers": list(EXPOSED_HEADERS),
        "supports_credentials": False,
        "send_wildcard": everybody,
        "always_send": everybody,
        "max_age": _MAX_AGE_S,
        "vary_header": False,
    }

    @cross_origin(**options, automatic_options=False)
    def preflight() -> Response:
        return Response(status=204)

    @app.before_request
    def answer_preflight() -> Response | None:
        # Here and not by the routes: a script has to see the 404 of a wrong address, too.
        request = current.request()
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return preflight() if asks and "Origin" in request.headers else None

    if everybody:
        # `for_scripts` are on every answer.
        return

    @app.after_request
    def vary(response: Response) -> Response:
        # flask-cors leaves it out where it sets no header; a cache would give that answer to everybody.
        response.vary.add("Origin")
        return response

    CORS(app, **options, intercept_exceptions=False)


def _expression(text: str) -> re.Pattern[str]:
    pattern = origin_pattern(text)
    start, _, host = str(pattern).partition("://")
    inner = r"(?:[a-z0-9_-]+\.)+" if pattern.subdomains else ""
    rest = re.escape(host.removeprefix("*."))
    return re.compile(rf"{re.escape(start)}://{inner}{rest}\Z", re.ASCII)
