"""A listening socket that lets nobody in any more."""

from __future__ import annotations

import errno
import select
import socket
import sys

import pytest

from webcall.serving.listening import let_nobody_in


@pytest.mark.skipif(sys.platform != "linux", reason="the filter is Linux's")
def test_nobody_new_and_nobody_lost() -> None:
    """Who was there is served; who comes then is neither taken nor reset, and is refused at the end."""
    listener = socket.create_server(("127.0.0.1", 0))
    before = socket.create_connection(listener.getsockname(), timeout=10)
    let_nobody_in([listener])
    late = socket.socket()
    late.setblocking(False)
    with pytest.raises(BlockingIOError):
        late.connect(listener.getsockname())
    taken, _ = listener.accept()
    before.sendall(b"request")
    assert taken.recv(100) == b"request"
    taken.sendall(b"answer")
    assert before.recv(100) == b"answer"
    assert not select.select([listener], [late], [], 0.1)[1], "nobody was let in"
    listener.close()
    assert select.select([], [late], [], 20)[1]
    assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
    for one in (before, late, taken):
        one.close()
