"""CORS: which pages' scripts may read answers (Fetch standard, "HTTP CORS protocol").

It opens nothing: a browser sends no credentials along, and a key's own origins decide what it may do.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, Response, request
from flask_cors import CORS, cross_origin

from webcall.origins import origin_pattern

ALLOWED_HEADERS = ("Authorization", "Content-Type", "Idempotency-Key", "X-Sandbox-Id", "X-Request-ID")
EXPOSED_HEADERS = ("Retry-After", "X-Request-ID")
# How long a browser keeps a preflight's answer; Chromium takes two hours at most.
_MAX_AGE_S = 7200


def init_app(app: Flask, origins: tuple[str, ...], more_headers: tuple[str, ...] = ()) -> None:
    """Put CORS headers on every answer, and answer preflights for every address; without origins, neither.

    `origins` are `http.cors_origins`, which the settings' schema has checked; `more_headers` are those that
    scripts may send beside `ALLOWED_HEADERS`.
    """
    if not origins:
        return
    everybody = origins == ("*",)
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
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        return preflight() if asks and "Origin" in request.headers else None

    @app.after_request
    def vary(response: Response) -> Response:
        # flask-cors leaves it out where it sets no header; a cache would give that answer to everybody.
        if not everybody:
            response.vary.add("Origin")
        if request.path == "/metrics":
            # No page has a use for it, and one that is open inside of a company's network could read it.
            response.headers.pop("Access-Control-Allow-Origin", None)
        return response

    if not everybody:
        CORS(app, **options, intercept_exceptions=False)
        return
    exposed = ", ".join(EXPOSED_HEADERS)

    @app.after_request
    def let_everybody_read(response: Response) -> Response:
        # The same two for each answer, which flask-cors would find out each time.
        response.headers.setdefault("Access-Control-Allow-Origin", "*")
        response.headers.setdefault("Access-Control-Expose-Headers", exposed)
        return response


def _expression(text: str) -> re.Pattern[str]:
    pattern = origin_pattern(text)
    start, _, host = str(pattern).partition("://")
    inner = r"(?:[a-z0-9_-]+\.)+" if pattern.subdomains else ""
    rest = re.escape(host.removeprefix("*."))
    return re.compile(rf"{re.escape(start)}://{inner}{rest}\Z", re.ASCII)
