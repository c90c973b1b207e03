"""`GET /metrics`, and the counting of answers that it tells of."""

from __future__ import annotations

import hmac
import time

from flask import Blueprint, Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST

from webcall.core.services import Services
from webcall.errors import Unauthorized
from webcall.http import current, observing
from webcall.http.auth import bearer_token
from webcall.http.envelope import failure

NO_TOKEN = (
    "The metrics token is missing or not valid. "  # noqa: S105  # nosec B105  # a message
    "Send it as: Authorization: Bearer <http.metrics_token>"
)

# Whatever a stranger makes up has no label of its own.
_NO_ROUTE = "none"


def init_app(app: Flask, services: Services) -> None:
    """Count every answer, and serve the counts, with `http.metrics_token` set for its bearer only."""
    counters, token = services.counters, services.config.http.metrics_token.encode()
    blueprint = Blueprint("metrics", __name__)
    for reason in observing.ALL_REASONS:
        counters.refused.labels(reason)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        # Not through `authenticated`: its failures are no guesses at keys, and an operator looks at
        # these numbers above all when the gate is full.
        if token and not _given(token):
            return failure(401, NO_TOKEN, headers={"WWW-Authenticate": "Bearer"})
        # For the next answer: this one does not wait for whoever hangs.
        services.see_who_answers()
        return Response(counters.exposition(), content_type=CONTENT_TYPE_LATEST)

    @app.after_request
    def count(response: Response) -> Response:
        rule, status, kept = current.request().url_rule, response.status_code, current.kept()
        route = rule.rule if rule else _NO_ROUTE
        counters.requests.labels(route, str(status)).inc()
        started = kept.get("started")
        if started is not None:
            counters.durations.labels(route).observe(time.perf_counter() - started)
        _, placed = kept.get("placed", (None, None))
        if placed is not None and status < 300 and not placed.repeated:
            counters.calls_created.inc()
        if route.startswith("/web_call/") and status >= 400 and status != 405:
            counters.refused.labels(observing.reason_of(response)).inc()
        return response

    app.register_blueprint(blueprint)


def _given(token: bytes) -> bool:
    try:
        return hmac.compare_digest(bearer_token().encode(), token)
    except Unauthorized:
        return False
