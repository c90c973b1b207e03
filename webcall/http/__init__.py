"""The HTTP side: thin glue between Flask and the core."""

from __future__ import annotations

from flask import Flask

from webcall.core.services import Services
from webcall.http import (
    addresses,
    cors,
    docs,
    errors,
    headers,
    health,
    limits,
    metrics,
    observing,
    playground,
    requests,
    token_source,
    tracing,
    upgrades,
    web_call,
    webhook,
    widget,
)
from webcall.http.api import EnvelopeApi
from webcall.http.body import MAX_BODY_BYTES


def init_app(app: Flask, services: Services) -> None:
    """Register error handling, request ids, logs and every route."""
    # One byte more than is taken: of a chunked body, Werkzeug cuts off what passes its limit in silence.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    # Or else `/web_call//get_token` would be redirected, with what stands in it, to an address without TLS.
    app.url_map.merge_slashes = False
    app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask's own default provider has it
    errors.init_app(app)
    headers.init_app(app, cors.for_scripts(services.config.http.cors_origins))
    requests.init_app(app)
    if services.traces is not None:
        tracing.init_app(app, services.traces)
    observing.init_app(app)
    upgrades.init_app(app)
    addresses.init_app(app, services.config.http.trusted_proxies)
    if services.config.http.widget:
        widget.init_app(app)
    cors.init_app(app, services.config.http.cors_origins, tracing.CONTEXT if services.traces else ())
    limits.init_app(app, services)
    metrics.init_app(app, services)
    api = EnvelopeApi.for_app(app)
    api.register_blueprint(web_call.blueprint)
    api.register_blueprint(token_source.blueprint)
    api.register_blueprint(health.blueprint)
    # For LiveKit alone: not in the document.
    app.register_blueprint(webhook.blueprint)
    if services.config.http.docs:
        docs.init_app(app, api)
    if services.config.http.playground:
        playground.init_app(app, services.config)
