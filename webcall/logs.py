"""Structured logs, JSON or console, for the service's own lines and for everybody else's.

No line holds a key, a secret, a token, a prompt or a caller's metadata. The service's own code logs
named fields only; of an exception, types and places are written and never its text, which may quote
what a caller sent.
"""

from __future__ import annotations

import logging.config
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from webcall.config.schema import LogConfig

# The packages whose lines follow `log.level`. All others are held at warnings: at debug, drivers
# write out the commands that they send, and with them keys.
OWN = ("webcall", "plugins", "gunicorn.error")


def configure(config: LogConfig) -> None:
    """Set up logging for this process, by `log.level` and `log.format`."""
    logging.config.dictConfig(dict_config(config))
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def dict_config(config: LogConfig) -> dict[str, Any]:
    """Return the same set-up in the form of `logging.config.dictConfig`, which gunicorn takes too."""
    level = config.level.upper()
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if config.format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                "foreign_pre_chain": _shared(),
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "structured",
            }
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {name: {"level": level, "handlers": [], "propagate": True} for name in OWN},
    }


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        places_of_exception,
    ]


def places_of_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace an exception by its types and the places it passed, without its text."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, tuple):
        info = info[1]
    if isinstance(info, BaseException):
        event.update(describe(info))
    return event


def describe(error: BaseException) -> Mapping[str, Any]:
    """Return an exception's types, outermost first, and the frames of the innermost one."""
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) and inner not in chain:
        chain.append(inner)
    frames = traceback.extract_tb(chain[-1].__traceback__)
    return {
        "exception": [type(one).__name__ for one in chain],
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]],
    }
