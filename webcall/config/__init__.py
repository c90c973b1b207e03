"""The service's settings: YAML and environment in, one frozen `Config` out, all faults at once.

`interpolation` replaces `${NAME}`, `schema` holds every setting with its default and meaning, and
`source` finds and reads the file.
"""

from webcall.config.settings import (
    AssistantsConfig,
    AuthConfig,
    CallConfig,
    Config,
    HttpConfig,
    LiveKitConfig,
    LogConfig,
    WorkerConfig,
)

__all__ = [
    "AssistantsConfig",
    "AuthConfig",
    "CallConfig",
    "Config",
    "HttpConfig",
    "LiveKitConfig",
    "LogConfig",
    "WorkerConfig",
]
