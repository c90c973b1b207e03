"""The settings, read and checked: what the rest of the project sees of config.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from webcall.rates import Rate


def _with_scheme(plain: str, address: str) -> str:
    scheme, _, rest = address.partition("://")
    return f"{plain}{'s' if scheme.lower() in ('https', 'wss') else ''}://{rest}"


def _as_seen_here(bind: str) -> str:
    host, _, port = bind.rpartition(":")
    # Where it listens on every address, this machine's own is one.
    host = {"": "127.0.0.1", str(IPv4Address(0)): "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    return f"http://{host}:{port}"


@dataclass(frozen=True, slots=True)
class LiveKitConfig:
    """Which LiveKit server is called, and how."""

    url: str
    public_url: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    agent_name: str
    timeout_s: float
    previous_api_key: str = field(default="", repr=False)
    previous_api_secret: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secret, and while it is changed the one before."""
        return tuple(one for one in (self.api_secret, self.previous_api_secret) if one)

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
class LimitsConfig:
    """How often and how much callers may; a rate of None is no limit."""

    per_key: Rate | None
    failed_auth_per_address: Rate | None
    publishable_per_address: Rate | None
    publishable_max_concurrent_calls: int
    waiting_per_address: int
    storage_uri: str = field(repr=False)
    required: bool


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """How the service is served."""

    bind: str
    workers: int
    threads: int
    bind_cores: bool
    docs: bool
    playground: bool
    widget: bool
    public_url: str
    trusted_proxies: int
    cors_origins: tuple[str, ...]
    metrics_token: str = field(repr=False)

    @property
    def page_url(self) -> str:
        """The address that a person's browser opens, without a slash at its end."""
        if self.public_url:
            return self.public_url.rstrip("/")
        first = self.bind.split(",")[0].strip()
        return _as_seen_here("127.0.0.1:80" if first.startswith("unix:") else first)


# Measured with the demo's models: a voice call takes a fifth of a core while it is talked in.
CALLS_PER_CORE = 4


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How the worker runs assistants."""

    llm: str
    stt: str
    tts: str
    realtime: str
    openai_base_url: str
    allow_in_definitions: tuple[str, ...]
    max_calls: int
    idle_processes: int
    drain_s: int
    host: str
    health_port: int
    metrics_port: int
    chat_max_bytes: int
    chat_per_minute: int
    chat_max_turns: int

    @property
    def health_url(self) -> str:
        """Where its health is as seen from this machine, without a slash at its end; empty: not known."""
        return self._at(self.health_port)

    @property
    def metrics_url(self) -> str:
        """The same of its metrics."""
        return self._at(self.metrics_port)

    def _at(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return _as_seen_here(f"{host}:{port}") if port else ""


@dataclass(frozen=True, slots=True)
class WatchConfig:
    """How `flask webcall watch` looks after calls."""

    bind: str
    sweep_s: float
    grace_s: float
    tries: int
    overtime_s: float

    @property
    def address(self) -> tuple[str, int]:
        """Host and port on which it listens."""
        host, _, port = self.bind.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def url(self) -> str:
        """The address as seen from this machine, without a slash at its end."""
        return _as_seen_here(self.bind)


@dataclass(frozen=True, slots=True)
class TracesConfig:
    """Where traces go; an empty address: there are none."""

    endpoint: str


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
    limits: LimitsConfig
    http: HttpConfig
    worker: WorkerConfig
    watch: WatchConfig
    traces: TracesConfig
    log: LogConfig
