"""The span of a request, where traces are on, and its trace id in the log lines."""

from __future__ import annotations

from flask import Flask, Response, g, request

from webcall import request_log
from webcall.core.traces import RequestSpan, Traces

# Asked every few seconds, by machines: nobody looks for them among calls.
_LEFT_OUT = ("/health", "/ready", "/metrics")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")

CONTEXT = ("traceparent", "tracestate")
"""The headers in which a caller names its trace (W3C Trace Context)."""


def init_app(app: Flask, traces: Traces) -> None:
    """Make a span of every request. Comes right after `requests.init_app`, which clears the log's fields."""

    @app.before_request
    def begin() -> None:
        route = request.url_rule.rule if request.url_rule else None
        if route not in _LEFT_OUT:
            # A method that a caller made up is no name (OpenTelemetry's conventions for HTTP spans).
            method = request.method if request.method in _METHODS else "_OTHER"
            sent = {name: value for name in CONTEXT if (value := request.headers.get(name)) is not None}
            g.span = traces.begin(method, route, sent)
            request_log.add(trace_id=g.span.trace_id)

    @app.after_request
    def answered(response: Response) -> Response:
        span: RequestSpan | None = g.get("span")
        if span is not None:
            span.answered(response.status_code)
        return response

    @app.teardown_request
    def end(_: BaseException | None) -> None:
        span: RequestSpan | None = g.pop("span", None)
        if span is not None:
            span.end()
