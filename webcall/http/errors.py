"""The one place where errors become answers."""

from __future__ import annotations

import math

import structlog
from flask import Flask, Response, current_app, g
from werkzeug.exceptions import HTTPException

from webcall import errors
from webcall.core.storage import PAUSE_S
from webcall.http.envelope import failure
from webcall.http.requests import request_id
from webcall.logs import describe

log = structlog.stdlib.get_logger("webcall.http")

UNAUTHORIZED = "The API key is missing or not valid. Send it as: Authorization: Bearer <api_key>"
NOT_FOUND = (
    "No such assistant. Check assistant_id: this API key can call active assistants of its owner only, "
    "and if it has a list, those on it."
)
NO_TEXT = "This assistant speaks in real time and has no typed chat. Send the request without text_only."
INVALID = "The request is not valid. data.errors lists what to fix."
FORBIDDEN = (
    "This API key may not be used from here: its list of origins does not hold this page's, "
    "or it may stand in a web page only and the request has no Origin."
)
BUSY = "The service is busy. Try again in a moment."
FAILED = "The request could not be carried out. Try again later; if it goes on, tell support the id {id}."
NOT_UNDERSTOOD = "The request cannot be understood."

HTTP_MESSAGES = {
    404: "There is nothing at this address; /docs describes the service.",
    405: "This address does not take this method; the Allow header lists those that it takes.",
    413: "The request's body is larger than 64 KiB.",
}


def init_app(app: Flask) -> None:
    """Register the handlers: for the service's errors, the framework's, and everything else."""
    app.register_error_handler(errors.Unauthorized, unauthorized)
    app.register_error_handler(errors.AssistantNotFound, lambda _: failure(404, NOT_FOUND))
    app.register_error_handler(errors.TextOnlyUnsupported, lambda _: failure(400, NO_TEXT))
    app.register_error_handler(errors.InvalidMetadata, lambda error: invalid({"metadata": [str(error)]}))
    app.register_error_handler(errors.OriginForbidden, lambda _: failure(403, FORBIDDEN))
    app.register_error_handler(errors.TooMany, too_many)
    app.register_error_handler(
        errors.IdempotencyConflict, lambda error: invalid({"Idempotency-Key": [str(error)]})
    )
    app.register_error_handler(errors.Busy, busy)
    app.register_error_handler(errors.LimitsUnavailable, limits_unavailable)
    app.register_error_handler(Exception, failed)


def unauthorized(_: errors.Unauthorized) -> Response:
    """Answer 401, the same for every way in which a key is not good (RFC 6750, section 3)."""
    return failure(401, UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"})


def busy(error: errors.Busy) -> Response:
    """Answer 503 with the seconds after which to try again."""
    return failure(503, BUSY, headers={"Retry-After": str(error.retry_after_s)})


def limits_unavailable(_: errors.LimitsUnavailable) -> Response:
    """Answer 503: the outage was logged when it began, and the storage is asked again in a moment."""
    return failure(503, BUSY, headers={"Retry-After": str(math.ceil(PAUSE_S))})


def too_many(error: errors.TooMany) -> Response:
    """Answer 429 with the seconds after which to try again."""
    if isinstance(error, errors.TooManyCalls):
        g.refused_because = "calls"
    return failure(429, str(error), headers={"Retry-After": str(error.retry_after_s)})


def invalid(faults: dict[str, list[str]]) -> Response:
    """Answer 422 with the faults by field."""
    return failure(422, INVALID, {"errors": faults})


def failed(error: Exception) -> Response:
    """Answer 500 for an outage or a defect: the caller gets the request id, the log the rest."""
    counters = current_app.extensions["webcall"].counters
    if isinstance(error, errors.LiveKitError):
        counters.livekit_failures.labels(error.kind).inc()
        log.error("livekit failed", kind=error.kind, error=str(error), **describe(error))
    elif isinstance(error, errors.RecordError):
        # A defect of one record, and no outage.
        counters.record_faults.inc()
        log.error("record cannot be used", error=str(error), **describe(error))
    elif isinstance(error, errors.BackendError):
        counters.backend_failures.inc()
        log.error("backend failed", error=str(error), **describe(error))
    elif isinstance(error, errors.TemplateError):
        # Its message quotes the prompt's tags.
        log.error("template cannot be used", field=error.field, fix="`flask webcall check` shows where")
    elif isinstance(error, errors.WebCallError):
        log.error("call failed", error=str(error))
    else:
        log.error("defect", **describe(error))
    return failure(500, FAILED.format(id=request_id()), {"request_id": request_id()})


def http_error(error: HTTPException) -> Response:
    """Answer an error of the framework, such as 404 for a route, in the envelope."""
    status = error.code or 500
    if status >= 500:
        return failed(error)
    # Werkzeug's own headers: Allow beside 405.
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    return failure(status, HTTP_MESSAGES.get(status, NOT_UNDERSTOOD), headers=headers)
