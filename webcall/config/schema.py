"""Every setting: its type, its default, its meaning. The README's table is made from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, fields, post_load, pre_load, validate

from webcall.config.fields import Backends, Names, Whole, address, bind, optional_address, secret, unspaced


def _with_scheme(plain: str, address: str) -> str:
    scheme, _, rest = address.partition("://")
    return f"{plain}{'s' if scheme.lower() in ('https', 'wss') else ''}://{rest}"


@dataclass(frozen=True, slots=True)
class LiveKitConfig:
    """Which LiveKit server is called, and how."""

    url: str
    public_url: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    agent_name: str
    timeout_s: float

    @property
    def server_url(self) -> str:
        """The address that browsers connect to, always `ws://` or `wss://`."""
        return _with_scheme("ws", self.public_url or self.url)

    @property
    def http_url(self) -> str:
        """The address that the service calls, always `http://` or `https://`."""
        return _with_scheme("http", self.url)


@dataclass(frozen=True, slots=True)
class CallConfig:
    """How long a call waits, and how long it lasts."""

    join_window_s: int
    departure_timeout_s: int
    max_duration_s: int


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Names of the validators' backends, in the order in which they are asked."""

    validators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssistantsConfig:
    """Names of the stores' backends, in the order in which they are asked."""

    stores: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """How the service is served."""

    bind: str
    workers: int
    threads: int
    docs: bool


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, and in which form."""

    level: str
    format: str


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, checked. `backends` holds those of the backends as written, by backend name."""

    livekit: LiveKitConfig
    call: CallConfig
    plugins: tuple[str, ...]
    auth: AuthConfig
    assistants: AssistantsConfig
    backends: Mapping[str, Mapping[str, Any]] = field(repr=False)
    http: HttpConfig
    log: LogConfig


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
    agent_name = _text(
        "the worker that runs assistants; an assistant's own `agent_name` wins",
        load_default="api-agent",
        validate=unspaced,
    )
    timeout_s = _seconds(5, 0.1, 60, "for one whole exchange with LiveKit, the retry included")


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
        load_default=("plugins.env", "plugins.file", "plugins.mongo"),
        validate=validate.Length(min=1, error="names no plugin"),
        metadata={"description": "modules, or names of entry points in the group `webcall.plugins`"},
    )
    auth = fields.Nested(AuthSection)
    assistants = fields.Nested(AssistantsSection)
    backends = Backends(metadata={"description": "settings by backend name"})
    http = fields.Nested(HttpSection)
    log = fields.Nested(LogSection)
