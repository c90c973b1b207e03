"""Whether a connection can be kept behind a request whose body nobody has read."""

from __future__ import annotations

import fcntl
import struct
import termios
from functools import partial
from typing import Any

from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.parser import _DRAIN_MAX_BYTES


def close_behind_unread(request: Any) -> None:
    """Let the answer say `Connection: close` where the rest of the body has not come yet, or is large.

    gunicorn says `keep-alive`, and its thread reads on: for five seconds at most, and for less than 64 KiB,
    and closes then. A connection that is closed is read on without a thread (webcall.serving.lingering).
    """
    request.should_close = partial(_should_close, request)


def _should_close(request: Any) -> bool:
    if _has_more_to_come(request):
        # What an answer has said stays said, whatever comes meanwhile.
        request.force_close()
    return bool(type(request).should_close(request))


def _has_more_to_come(request: Any) -> bool:
    reader = request.body.reader
    if isinstance(reader, ChunkedReader):
        # None, once the last chunk has been read.
        return bool(reader.parser)
    if not isinstance(reader, LengthReader) or not reader.length:
        return False
    unread = reader.length + request.body.buf.tell()
    return bool(unread >= _DRAIN_MAX_BYTES or reader.length > _here(reader.unreader))


def _here(unreader: Any) -> int:
    """Return how many bytes of a connection can be read without waiting."""
    in_socket = fcntl.ioctl(unreader.sock, termios.FIONREAD, bytes(4))
    return int(unreader.buf.getbuffer().nbytes + struct.unpack("i", in_socket)[0])
