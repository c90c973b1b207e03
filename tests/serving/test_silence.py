"""Connections that say nothing are closed, and no other, however late the worker looks."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from selectors import DefaultSelector
from types import SimpleNamespace
from typing import Any

import pytest

from webcall.serving.half_sent import HalfSent
from webcall.serving.lingering import Lingering
from webcall.serving.own_core import OwnCore
from webcall.serving.parked import Parked
from webcall.serving.queues import Queues
from webcall.serving.reading import Reading
from webcall.serving.worker import Worker

REQUEST = b"GET /health HTTP/1.1\r\n\r\n"


class Late(Worker):
    """A worker without threads that was asked for nothing by its poller: what came has come since."""

    def __init__(self) -> None:
        self.tls = False
        self.plain = SimpleNamespace(usable=False)
        self.poller = DefaultSelector()
        self.door = SimpleNamespace(is_call=lambda _: False, has_come=bool, look=lambda _: None, places=1)
        self.own_core = OwnCore(wanted=False)
        self.queues = Queues(threads=1, places=1)
        self.silent, self.idle = (Parked(self.poller, 0, self.begin) for _ in range(2))
        self.half_sent = HalfSent(self.poller, 0, self.begin)
        self.lingering = Lingering(self.poller, self.close)
        self.reading = Reading()
        self.begun: list[Any] = []
        self.closed: list[Any] = []
        self.worker_connections = 2
        self.nr_conns = 0

    def notify(self) -> None:
        """Tell nobody."""

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Return at once."""

    def start(self, conn: Any, kind: Any) -> None:
        """Keep who begins."""
        self.begun.append(conn)

    def close(self, conn: Any) -> None:
        """Keep who is closed."""
        self.closed.append(conn)
        self.nr_conns -= 1


@dataclass(eq=False)
class Connection:
    """What the worker has of a client."""

    sock: socket.socket
    parser: Any = None


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Connection]]:
    """A client's socket, and the worker's connection with it."""
    client, served = socket.socketpair()
    served.setblocking(False)
    with client, served:
        yield client, Connection(served)


@pytest.mark.parametrize("where", ["silent", "idle"])
@pytest.mark.parametrize("sent", [b"", REQUEST])
def test_a_request_that_has_come_meanwhile_begins(
    pair: tuple[socket.socket, Connection], where: str, sent: bytes
) -> None:
    """A connection whose time is up is closed if nothing has come, and is served if its request has."""
    client, conn = pair
    worker = Late()
    getattr(worker, where).add(conn)
    client.sendall(sent)
    worker.turn(0)
    assert (worker.begun, worker.closed) == (([conn], []) if sent else ([], [conn]))
    worker.poller.close()


@pytest.mark.parametrize("older", ["silent", "idle"])
def test_who_waits_for_longest_makes_room(pair: tuple[socket.socket, Connection], older: str) -> None:
    """One that has only just come is not closed for the next one while another has been silent for long."""
    with socket.socket() as other:
        worker = Late()
        worker.silent, worker.idle = (
            Parked(worker.poller, 10, worker.begin),
            Parked(worker.poller, 75, worker.begin),
        )
        old, new = Connection(other), pair[1]
        newer = "idle" if older == "silent" else "silent"
        getattr(worker, older).add(old)
        getattr(worker, newer).add(new)
        worker.nr_conns = worker.worker_connections
        worker.make_room()
        assert worker.closed == [old]
        worker.poller.close()


@pytest.mark.parametrize("rest", [b"\r\n", b"Host: x\r\n"])
def test_a_part_of_a_request_makes_room(pair: tuple[socket.socket, Connection], rest: bytes) -> None:
    """Who sends one is closed for the next connection, and is served if the rest has come meanwhile."""
    client, conn = pair
    worker = Late()
    worker.door.has_come = lambda sent: sent.endswith(b"\r\n\r\n")
    worker.half_sent = HalfSent(worker.poller, 10, worker.begin)
    client.sendall(REQUEST.removesuffix(b"\r\n"))
    worker.begin(conn)
    assert len(worker.half_sent) == 1
    client.sendall(rest)
    worker.nr_conns = worker.worker_connections
    worker.make_room()
    assert (worker.begun, worker.closed) == (([conn], []) if rest == b"\r\n" else ([], [conn]))
    worker.poller.close()


def test_without_open_files_and_idle_connections_nobody_is_taken() -> None:
    """For a moment: the worker neither asks again and again, nor ends unless nobody is there any more."""

    def accept() -> None:
        raise OSError(errno.EMFILE, "")

    worker = Late()
    worker.told_of_files = False
    worker.nr_conns = 1
    worker.accept(SimpleNamespace(accept=accept))
    assert worker.accept_after > time.monotonic()
    worker.nr_conns = 0
    with pytest.raises(OSError, match=str(errno.EMFILE)):
        worker.accept(SimpleNamespace(accept=accept))
    worker.poller.close()


def test_a_byte_now_and_then_does_not_make_the_time_longer(pair: tuple[socket.socket, Connection]) -> None:
    """A request has to be here whole after so long, whenever the last part of it came."""
    client, conn = pair
    with DefaultSelector() as poller:
        heard: list[Connection] = []
        half_sent = HalfSent(poller, 10, heard.append)
        until, _ = half_sent.take(conn)
        half_sent.wait_for_more(conn, until, 1)
        client.sendall(b"GE")
        [(key, _)] = poller.select(10)
        key.data(conn.sock)
        assert half_sent.take(heard.pop()) == (until, 1)
        # As if two seconds had passed: it is parked for longer than it has.
        half_sent.patience_s = 12
        half_sent.wait_for_more(conn, until, 2)
        assert not list(half_sent.expired(until - 5))
        assert list(half_sent.expired(until)) == [conn]
        assert not len(half_sent)
