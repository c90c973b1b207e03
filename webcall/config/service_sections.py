"""The sections of the service: who may call which assistants, how much, and how it is served."""

from __future__ import annotations

from marshmallow import fields, validate

from webcall.config.fields import Names, Origins, bind, optional_token, optional_web_address, storage
from webcall.config.section import Section, rate, text, whole
from webcall.config.settings import AssistantsConfig, AuthConfig, HttpConfig, LimitsConfig


class AuthSection(Section):
    """`auth:`"""

    MAKES = AuthConfig

    validators = Names(
        load_default=("env", "file"),
        validate=validate.Length(min=1, error="names no backend"),
        metadata={"description": "backends asked for an API key, in this order"},
    )


class AssistantsSection(Section):
    """`assistants:`"""

    MAKES = AssistantsConfig

    stores = Names(
        load_default=("env", "file"),
        validate=validate.Length(min=1, error="names no backend"),
        metadata={"description": "backends asked for an assistant, in this order"},
    )


class LimitsSection(Section):
    """`limits:`"""

    MAKES = LimitsConfig

    per_key = rate("60/minute", "requests with one key; `off`: no limit; a key's own rate_limit wins")
    failed_auth_per_address = rate(
        "30/minute", "requests without a good key from one address (IPv6: one /64); a good key still works"
    )
    publishable_per_address = rate(
        "30/minute", "requests with publishable keys from one address (IPv6: one /64)"
    )
    publishable_max_concurrent_calls = whole(
        20, 0, 100000, "live calls of a publishable key without a limit of its own; 0: no limit"
    )
    waiting_per_address = whole(
        10,
        0,
        100000,
        "publishable keys: calls from one address that nobody has joined yet; 0: no limit",
    )
    storage_uri = text(
        "where limits are counted; `redis://…` when there is more than one process",
        load_default="memory://",
        validate=storage,
    )
    required = fields.Boolean(
        load_default=False,
        metadata={
            "description": "whether requests get 503 while the storage is down, instead of passing uncounted"
        },
    )


class HttpSection(Section):
    """`http:`"""

    MAKES = HttpConfig

    bind = text("address and port that gunicorn listens on", load_default="127.0.0.1:8000", validate=bind)
    workers = whole(1, 1, 64, "gunicorn's worker processes")
    threads = whole(
        256, 4, 1024, "request threads a worker; calls in flight are held below it, so that /health answers"
    )
    bind_cores = fields.Boolean(
        load_default=True,
        metadata={
            "description": "whether each worker keeps to a core of its own, as far as there are free ones"
        },
    )
    docs = fields.Boolean(
        load_default=True, metadata={"description": "whether /docs and /openapi.json are served"}
    )
    playground = fields.Boolean(
        load_default=False,
        metadata={"description": "whether /playground is served, a page to try calls with"},
    )
    widget = fields.Boolean(
        load_default=True,
        metadata={"description": "whether /widget.js is served, a call button for pages"},
    )
    public_url = text(
        "the service's address as browsers see it, for links; empty: derived from bind",
        load_default="",
        validate=optional_web_address,
    )
    trusted_proxies = whole(
        0, 0, 10, "proxies in front, each of which appends the address it was called from to X-Forwarded-For"
    )
    cors_origins = Origins(
        load_default=("*",),
        metadata={
            "description": "origins whose pages may read answers: `*`, a list, or `off`; "
            "a key's own origins decide what it may do"
        },
    )
    metrics_token = text(
        "the bearer token that /metrics asks for; empty: none", load_default="", validate=optional_token
    )
