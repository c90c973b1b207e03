"""A listening socket at its end: nobody is let in whom nobody would answer."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

# Linux, asm-generic/socket.h; Python has no name for it.
_SO_ATTACH_FILTER = 26

# A classic BPF program over a TCP segment (Linux, Documentation/networking/filter.rst): the byte of the
# flags; drop where SYN is set and ACK is not, let all else through.
_NO_NEW = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),
        (0x54, 0, 0, 0x12),
        (0x15, 0, 1, 0x02),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 0xFFFFFFFF),
    )
)


def let_nobody_in(sockets: Iterable[socket.socket]) -> None:
    """Let no new connection come to listening TCP sockets, whatever process takes from them.

    Connections that are there, or half there, stay and can be taken. A client that comes sends its SYN
    again after a second, and finds the port closed, or the next server. Without it, a connection that
    comes between the last accept() and the close() would be reset with its request. Where the system
    knows no such filter, nothing changes.
    """
    program = ctypes.create_string_buffer(_NO_NEW, len(_NO_NEW))
    # struct sock_fprog: how many instructions, and where.
    filter_ = struct.pack("HP", len(_NO_NEW) // 8, ctypes.addressof(program))
    for listener in sockets:
        if listener.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):
                listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
