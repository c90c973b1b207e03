"""Structured logs, JSON or console, for the service's own lines and for everybody else's.

No line holds a key, a secret, a token, a prompt or a caller's metadata. The service's own code logs
named fields only. Of an exception, types and places are written and never its text, which may quote
what a caller sent; of other packages' lines, the text as it stands in their source, with numbers filled
in and everything else left out, and their first line only.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from webcall import request_log
from webcall.config.settings import LogConfig

SERVER = "gunicorn.error"
# The packages whose lines follow `log.level`, and whose lines are written whole.
OWN = ("webcall", "plugins", SERVER)
# Held at warnings, as all others are, even where they would set a level of their own: at debug,
# drivers write out the commands that they send, and with them keys.
DRIVERS = ("pymongo", "livekit.agents", "livekit.plugins", "aiohttp", "asyncio", "urllib3")
# Where LiveKit's native library writes: lines without words of their own, some for every hang-up.
_NATIVE = "livekit"
# What cannot be sent is told once, by `webcall.core.traces`, and not at every try.
_SENDERS = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal")

_LEFT_OUT = "…"
_QUOTED = re.compile(r"`[^`]*`|'[^']*'")
_MOST_FRAMES = 8
_MOST_CAUSES = 10

# json.dumps would make an encoder for each line, since it is told how to write what it does not know.
_encode = json.JSONEncoder(default=repr).encode


def configure(config: LogConfig) -> None:
    """Set up logging for this process, by `log.level` and `log.format`."""
    # No line has them (https://docs.python.org/3/howto/logging.html#optimization).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
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
    others = "ERROR" if level == "ERROR" else "WARNING"
    processors: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if config.format == "json":
        processors.append(structlog.processors.JSONRenderer(serializer=_as_json))
    else:
        processors += [_exception_as_text, structlog.dev.ConsoleRenderer(colors=False)]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {"()": _Formatter, "processors": processors, "foreign_pre_chain": _shared()}
        },
        "handlers": {"stderr": {"()": _Handler, "formatter": "structured"}},
        "root": {"level": others, "handlers": ["stderr"]},
        "loggers": {
            **{name: {"level": others} for name in DRIVERS},
            **{name: {"level": "CRITICAL"} for name in (_NATIVE, *_SENDERS)},
            **{name: {"level": level, "handlers": [], "propagate": True} for name in OWN},
            # At debug it writes every request's path, which may hold what a caller should not put there.
            SERVER: {"level": "INFO" if level == "DEBUG" else level, "handlers": [], "propagate": True},
        },
    }


def _as_json(event: EventDict, **_: Any) -> str:
    return _encode(event)


class _Handler(logging.Handler):
    """Writes to whatever `sys.stderr` is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Tell that a line was lost; logging's own way would print its arguments."""
        place = f"{record.pathname}:{record.lineno}"
        lost = {"event": "a log line could not be written", "logger": record.name, "at": place}
        with suppress(OSError, ValueError):
            sys.stderr.write(json.dumps(lost) + "\n")


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Takes what may be a secret out of lines that did not come through structlog."""

    def format(self, record: logging.LogRecord) -> str:
        logger = getattr(record, "_logger", None)
        if logger is None:
            # A copy: other handlers may show the line to somebody else.
            record = logging.makeLogRecord(record.__dict__)
            record.msg, record.args, record.stack_info = _message(record), (), None
            return super().format(record)
        # structlog's own would copy the record, and go through logging's formatter with what is ready.
        event: Any = dict(record.msg)  # type: ignore[arg-type]  # structlog puts a dict there
        for process in self.processors[1:]:  # the first one takes out what is not put in here
            event = process(logger, record._name, event)  # type: ignore[attr-defined]  # structlog's
        return str(event)


def _message(record: logging.LogRecord) -> str:
    if not isinstance(record.msg, str):
        # logging.exception(error): its text is the exception's.
        return type(record.msg).__name__
    error = record.exc_info[1] if record.exc_info else None
    own = any(record.name == name or record.name.startswith(f"{name}.") for name in OWN)
    if own and error is None:
        with suppress(Exception):
            return record.getMessage()
    text = record.msg
    if record.args:
        # Where the arguments do not fit, the text goes out as it is.
        with suppress(Exception):
            text %= _numbers_only(record.args)
    for one in _chain(error) if error is not None else ():
        quoted = _text_of(one)
        if quoted:
            text = text.replace(quoted, type(one).__name__)
    if record.name.startswith(_NATIVE):
        # livekit-agents fills its texts itself: what a provider answered, or the assistant says, stands
        # behind a colon or in quotes.
        text = _QUOTED.sub(_LEFT_OUT, text.partition(": ")[0])
    # What follows the first line is, in asyncio's messages, the repr of a task and of its exception.
    return text.partition("\n")[0]


def _numbers_only(args: Any) -> Any:
    if isinstance(args, Mapping):
        return {name: _number(value) for name, value in args.items()}
    return tuple(_number(value) for value in args)


def _number(value: Any) -> Any:
    return value if type(value) in (int, float, bool) else _LEFT_OUT


def _text_of(error: BaseException) -> str:
    with suppress(Exception):
        return str(error)
    return ""


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        request_log.merge,
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


def _exception_as_text(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    # ConsoleRenderer takes a field of the name `exception` for a traceback's text.
    if "exception" in event:
        event["raised"] = " from ".join(event.pop("exception"))
        event["at"] = " > ".join(event.get("at", ()))
    return event


def describe(error: BaseException) -> dict[str, list[str]]:
    """Return an exception's types, outermost first, and the frames of the innermost one, as log fields."""
    chain = _chain(error)
    frames = list(traceback.walk_tb(chain[-1].__traceback__))[-_MOST_FRAMES:]
    return {
        "exception": [type(one).__name__ for one in chain],
        "at": [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in frames],
    }


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) and len(chain) < _MOST_CAUSES:
        if any(inner is one for one in chain):
            break
        chain.append(inner)
    return chain
