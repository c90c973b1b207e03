"""The sections that every process reads: LiveKit, calls, traces and the log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, validate, validates_schema

from webcall.config.fields import (
    called_address,
    optional_address,
    optional_secret,
    optional_unspaced,
    secret,
    traces_endpoint,
    unspaced,
)
from webcall.config.section import Section, seconds, text, whole
from webcall.config.settings import CallConfig, LiveKitConfig, LogConfig, TracesConfig


class LiveKitSection(Section):
    """`livekit:`"""

    MAKES = LiveKitConfig

    url = text(
        "LiveKit's address as the service calls it; ws(s) and http(s) alike",
        load_default="ws://127.0.0.1:7880",
        validate=called_address,
    )
    public_url = text(
        "what browsers connect to; empty: the same as url", load_default="", validate=optional_address
    )
    api_key = text("LiveKit's API key", required=True, validate=unspaced)
    api_secret = text("LiveKit's API secret, at least 32 bytes", required=True, validate=secret)
    previous_api_key = text(
        "the key before this one, while the secret is changed (docs/security.md); else empty",
        load_default="",
        validate=optional_unspaced,
    )
    previous_api_secret = text("its secret", load_default="", validate=optional_secret)
    agent_name = text(
        "the worker that runs assistants; an assistant's own `agent_name` wins",
        load_default="api-agent",
        validate=unspaced,
    )
    timeout_s = seconds(5, 0.1, 60, "time-out for one whole exchange with LiveKit, including repeats")

    @validates_schema
    def _previous_pair_is_whole(self, data: Mapping[str, Any], **_: Any) -> None:
        key, secret_ = data.get("previous_api_key"), data.get("previous_api_secret")
        if bool(key) != bool(secret_):
            missing = "previous_api_secret" if key else "previous_api_key"
            raise ValidationError("is empty: the previous key and its secret go together", missing)
        if key and key == data.get("api_key"):
            raise ValidationError(
                "is livekit.api_key: LiveKit holds one secret for each key, so a new secret needs a new key",
                "previous_api_key",
            )


class CallSection(Section):
    """`call:`"""

    MAKES = CallConfig

    join_window_s = whole(
        60, 1, 86400, "the token's lifetime; the room waits as long, plus LiveKit's 60 s of leeway"
    )
    departure_timeout_s = whole(20, 1, 3600, "how long the room waits for a caller who dropped out")
    max_duration_s = whole(
        3600, 0, 604800, "the longest a call may last, passed to its assistant; 0: no limit"
    )


class TracesSection(Section):
    """`traces:`"""

    MAKES = TracesConfig

    endpoint = text(
        "where OpenTelemetry traces go, by OTLP over HTTP: http://127.0.0.1:4318; empty: no traces",
        load_default="",
        validate=traces_endpoint,
    )


class LogSection(Section):
    """`log:`"""

    MAKES = LogConfig

    level = text(
        "debug, info, warning or error",
        load_default="info",
        validate=validate.OneOf(["debug", "info", "warning", "error"], error="not one of {choices}"),
    )
    format = text(
        "json or console",
        load_default="json",
        validate=validate.OneOf(["json", "console"], error="not one of {choices}"),
    )
