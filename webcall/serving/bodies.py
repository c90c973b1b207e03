"""Whether a connection can be kept behind a request whose body nobody has read."""

from __future__ import annotations

from functools import partial
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.parser import _DRAIN_MAX_BYTES


def close_behind_unread(request: Any) -> None:
    """Let the answer say `Connection: close` where gunicorn will not read the rest of the body.

    gunicorn reads on for less than 64 KiB and closes then, with `keep-alive` said already.
    """
    request.should_close = partial(_should_close, request)


def _should_close(request: Any) -> bool:
    reader = getattr(request.body, "reader", None)
    if isinstance(reader, LengthReader) and reader.length + request.body.buf.tell() >= _DRAIN_MAX_BYTES:
        return True
    return bool(type(request).should_close(request))
