"""Whether a connection can be kept behind a request whose body nobody has read."""

from __future__ import annotations

import fcntl
import ssl
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
    sock = unreader.sock
    in_socket = struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, bytes(4)))[0]
    # What OpenSSL has taken out of the socket and nobody has read yet.
    deciphered = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
    return int(unreader.buf.getbuffer().nbytes + deciphered + in_socket)
