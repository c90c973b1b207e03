"""Every setting: its type, its default, its meaning. The README's table is made from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, pre_load, validate, validates_schema

from webcall.config.fields import (
    Backends,
    Names,
    Origins,
    RateField,
    Whole,
    address,
    bind,
    one_address,
    optional_address,
    optional_secret,
    optional_token,
    optional_unspaced,
    optional_web_address,
    secret,
    storage,
    traces_endpoint,
    unspaced,
)
from webcall.config.settings import (
    AssistantsConfig,
    AuthConfig,
    CallConfig,
    Config,
    HttpConfig,
    LimitsConfig,
    LiveKitConfig,
    LogConfig,
    TracesConfig,
    WatchConfig,
    WorkerConfig,
)
from webcall.rates import parse_rate


class Section(Schema):
    """Base of the schemas of one section each; `MAKES` is the dataclass that it loads.

    A section that is null counts as empty: in YAML, that is one whose lines are all commented out.
    """

    MAKES: type[Any]

    @pre_load
    def _null_sections(self, data: Any, **_: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        sections = [name for name, kind in self.fields.items() if isinstance(kind, fields.Nested | Backends)]
        # A section that is not there has required settings and defaults in it all the same.
        return {**data, **{name: {} for name in sections if data.get(name) is None}}

    @post_load
    def _make(self, data: dict[str, Any], **_: Any) -> Any:
        return self.MAKES(**data)


def _seconds(default: float, low: float, high: float, means: str) -> fields.Float:
    return fields.Float(
        load_default=default,
        validate=validate.Range(low, high, error="not a number of seconds from {min} to {max}"),
        metadata={"description": means},
    )


def _whole(default: int, low: int, high: int, means: str) -> Whole:
    return Whole(
        load_default=default,
        validate=validate.Range(low, high, error="not a whole number from {min} to {max}"),
        metadata={"description": means},
    )


def _rate(default: str, means: str) -> RateField:
    return RateField(load_default=parse_rate(default), metadata={"description": means})


def _text(means: str, **kwargs: Any) -> fields.String:
    return fields.String(metadata={"description": means}, **kwargs)


class LiveKitSection(Section):
    """`livekit:`"""

    MAKES = LiveKitConfig

    url = _text(
        "LiveKit's address as the service calls it; ws(s) and http(s) alike",
        load_default="ws://127.0.0.1:7880",
        validate=address,
    )
    public_url = _text(
        "what browsers connect to; empty: the same as url", load_default="", validate=optional_address
    )
    api_key = _text("LiveKit's API key", required=True, validate=unspaced)
    api_secret = _text("LiveKit's API secret, at least 32 bytes", required=True, validate=secret)
    previous_api_key = _text(
        "the key before this one, while the secret is changed (docs/security.md); else empty",
        load_default="",
        validate=optional_unspaced,
    )
    previous_api_secret = _text("its secret", load_default="", validate=optional_secret)
    agent_name = _text(
        "the worker that runs assistants; an assistant's own `agent_name` wins",
        load_default="api-agent",
        validate=unspaced,
    )
    timeout_s = _seconds(5, 0.1, 60, "for one whole exchange with LiveKit, its repeats included")

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

    join_window_s = _whole(
        60, 1, 86400, "the token's lifetime; the room waits as long, plus LiveKit's 60 s of leeway"
    )
    departure_timeout_s = _whole(20, 1, 3600, "how long the room waits for a caller who dropped out")
    max_duration_s = _whole(3600, 0, 604800, "how long a call may last, told to its assistant; 0: for ever")


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

    per_key = _rate("60/minute", "requests with one key; `off`: no limit; a key's own rate_limit wins")
    failed_auth_per_address = _rate(
        "30/minute", "requests without a good key from one address (IPv6: one /64); a good key still works"
    )
    publishable_per_address = _rate(
        "30/minute", "requests with publishable keys from one address (IPv6: one /64)"
    )
    publishable_max_concurrent_calls = _whole(
        20, 0, 100000, "live calls of a publishable key without a limit of its own; 0: no limit"
    )
    waiting_per_address = _whole(
        10,
        0,
        100000,
        "publishable keys: calls from one address that nobody has joined yet; 0: no limit",
    )
    storage_uri = _text(
        "where limits are counted; `redis://…` when there is more than one process",
        load_default="memory://",
        validate=storage,
    )
    required = fields.Boolean(
        load_default=False,
        metadata={"description": "whether requests get 503 while the storage is down, instead of passing"},
    )


class HttpSection(Section):
    """`http:`"""

    MAKES = HttpConfig

    bind = _text("address and port that gunicorn listens on", load_default="127.0.0.1:8000", validate=bind)
    workers = _whole(1, 1, 64, "gunicorn's worker processes")
    threads = _whole(
        256, 4, 1024, "request threads a worker; calls in flight are held below it, so that /health answers"
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
    public_url = _text(
        "the service's address as browsers see it, for links; empty: made of bind",
        load_default="",
        validate=optional_web_address,
    )
    trusted_proxies = _whole(
        0, 0, 10, "proxies in front, each of which appends the address it was called from to X-Forwarded-For"
    )
    cors_origins = Origins(
        load_default=("*",),
        metadata={
            "description": "origins whose pages may read answers: `*`, a list, or `off`; "
            "a key's own origins decide what it may do"
        },
    )
    metrics_token = _text(
        "the bearer token that /metrics asks for; empty: none", load_default="", validate=optional_token
    )


class WorkerSection(Section):
    """`worker:`"""

    MAKES = WorkerConfig

    llm = _text(
        "the language model of assistants that name none: `provider/model`, a provider, or `demo`",
        load_default="demo",
        validate=unspaced,
    )
    stt = _text("the same for speech to text", load_default="demo", validate=unspaced)
    tts = _text("the same for text to speech", load_default="demo", validate=unspaced)
    realtime = _text(
        "the model of assistants in mode `realtime` that name none",
        load_default="openai/gpt-realtime",
        validate=unspaced,
    )
    openai_base_url = _text(
        "an OpenAI-compatible server in place of OpenAI's own, for all `openai` models",
        load_default="",
        validate=optional_web_address,
    )
    allow_in_definitions = Names(
        load_default=(),
        validate=validate.ContainsOnly(["api_key", "base_url"], error="names more than api_key and base_url"),
        metadata={
            "description": "what a definition may bring of its own, `api_key`, `base_url`; "
            "whoever writes one could make the worker call inner addresses"
        },
    )
    max_calls = _whole(0, 0, 10000, "calls at once in one worker; 0: by its cores and memory")
    idle_processes = _whole(2, 0, 64, "processes kept ready for the next calls")
    drain_s = _whole(900, 0, 86400, "how long calls may go on after SIGTERM, in seconds")
    host = _text("address of the worker's health and metrics", load_default="127.0.0.1", validate=unspaced)
    health_port = _whole(8081, 0, 65535, "port of the worker's health; 0: any free one")
    metrics_port = _whole(8082, 0, 65535, "port of the worker's metrics; 0: any free one")
    chat_max_bytes = _whole(4000, 1, 65536, "the longest typed message, in bytes of UTF-8")
    chat_per_minute = _whole(30, 1, 6000, "typed messages a minute and call")
    chat_max_turns = _whole(500, 1, 100000, "typed messages a call")


class WatchSection(Section):
    """`watch:`"""

    MAKES = WatchConfig

    bind = _text(
        "address and port on which the watcher takes LiveKit's events, with its health and metrics",
        load_default="127.0.0.1:8084",
        validate=one_address,
    )
    sweep_s = _seconds(10, 0.1, 3600, "how often the watcher looks at all rooms, whatever events tell")
    grace_s = _seconds(
        10,
        0.1,
        600,
        "how long a person may be without an assistant before one is sent; each further try waits twice that",
    )
    tries = _whole(3, 1, 20, "assistants sent after the first one before the call is given up")
    overtime_s = _seconds(
        30, 0, 3600, "how long past call.max_duration_s a call is left to its assistant before it is closed"
    )


class TracesSection(Section):
    """`traces:`"""

    MAKES = TracesConfig

    endpoint = _text(
        "where OpenTelemetry traces go, by OTLP over HTTP: http://127.0.0.1:4318; empty: there are none",
        load_default="",
        validate=traces_endpoint,
    )


class LogSection(Section):
    """`log:`"""

    MAKES = LogConfig

    level = _text(
        "debug, info, warning or error",
        load_default="info",
        validate=validate.OneOf(["debug", "info", "warning", "error"], error="not one of {choices}"),
    )
    format = _text(
        "json or console",
        load_default="json",
        validate=validate.OneOf(["json", "console"], error="not one of {choices}"),
    )


class ConfigSchema(Section):
    """The whole of config.yaml."""

    MAKES = Config

    livekit = fields.Nested(LiveKitSection)
    call = fields.Nested(CallSection)
    plugins = Names(
        load_default=tuple(f"plugins.{name}" for name in ("env", "file", "mongo", "sql", "jwt", "http")),
        validate=validate.Length(min=1, error="names no plugin"),
        metadata={"description": "modules, or names of entry points in the group `webcall.plugins`"},
    )
    auth = fields.Nested(AuthSection)
    assistants = fields.Nested(AssistantsSection)
    backends = Backends(metadata={"description": "settings by backend name"})
    limits = fields.Nested(LimitsSection)
    http = fields.Nested(HttpSection)
    worker = fields.Nested(WorkerSection)
    watch = fields.Nested(WatchSection)
    traces = fields.Nested(TracesSection)
    log = fields.Nested(LogSection)
