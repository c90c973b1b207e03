"""What stands in every line that is written while a request is answered, and the one line of each request."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

# One variable, and not one for each field, as structlog's own has it.
_FIELDS: ContextVar[dict[str, Any] | None] = ContextVar("fields of a request", default=None)


def begin(**fields: Any) -> None:
    """Put these fields, and those of `add`, into each line of this thread from now on.

    What the request before has bound by structlog's own variables, a plugin's fields, say, goes with it.
    """
    structlog.contextvars.clear_contextvars()
    _FIELDS.set(fields)


def add(**fields: Any) -> None:
    """Add fields to those of the request that this thread answers; outside of one, do nothing."""
    known = _FIELDS.get()
    if known is not None:
        known.update(fields)


def end() -> None:
    """Take the request's fields out of this thread's lines again."""
    structlog.contextvars.clear_contextvars()
    _FIELDS.set(None)


def merge(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Return a line with the request's fields: a processor of structlog's."""
    fields = _FIELDS.get()
    return event if fields is None else {**fields, **event}


def tell(logger: logging.Logger, event: str, **fields: Any) -> None:
    """Write a line of level info as structlog's loggers do, for what is written with each request.

    Their way there makes a logger, goes through every processor, and copies the line twice: as long as all
    else that is done for the answer's head.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = {
        **structlog.contextvars.get_contextvars(),
        **(_FIELDS.get() or {}),
        **fields,
        "event": event,
        "level": "info",
        "logger": logger.name,
        "timestamp": at,
    }
    record = logging.getLogRecordFactory()(logger.name, logging.INFO, "", 0, line, (), None)
    record._logger, record._name = logger, "info"  # by which the formatter knows structlog's own
    logger.handle(record)
