"""gunicorn's threaded worker, made to hold under overload and over restarts.

gunicorn's own (`gthread`) gives each connection that it accepts to its pool of threads, in front of which
they wait without a bound: at three times the load that is served everybody waits for longer than they
stay. It closes connections in its main loop, for up to two seconds each, and it ends with connections in
the listening socket that nobody has taken, which the kernel resets. This worker

- gives a thread only to a connection whose request is here, the beginning of a large one, calls and all else
  apart, so that `/health` and `/metrics` are answered whatever calls do;
- answers 503 itself, without a thread, where calls have waited for too long;
- reads and answers plain requests itself (`webcall.serving.plain_requests`);
- takes what is in the listening socket before it ends (see also `webcall.serving.listening`).

It builds upon parts of gunicorn that are no promise: setup.py bounds the version, and
tests/serving/test_gunicorn_parts.py tells what has changed.
"""

from __future__ import annotations

import errno
import selectors
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn, ThreadWorker

from webcall import request_log
from webcall.core.answer_headers import new_request_id
from webcall.serving.door import LOOKED_AT, Door, ErrorPage, not_understood
from webcall.serving.half_sent import HalfSent
from webcall.serving.lingering import Lingering
from webcall.serving.own_core import OwnCore
from webcall.serving.parked import Parked
from webcall.serving.plain_answers import answer_plainly
from webcall.serving.plain_requests import PlainReader, PlainRequest
from webcall.serving.queues import Kind, Queues
from webcall.serving.threads import Threads

# A new connection that says nothing for so long is closed; gthread reads with a patience of its own.
SILENCE_S = 10.0
# A request that has a thread, since its beginning is here, has to be here whole after so long: a large one,
# or one in chunks. Its key was looked at before.
MOST_READING_S = 20.0
# After SIGTERM: at least so long, and until the listening socket is empty, connections are taken.
DRAIN_S, MOST_DRAIN_S = 0.2, 3.0
_ACCEPTED_AT_ONCE = 8


def sent_ahead(conn: Any) -> bytes:
    """Return what has been read of the request behind the one that was answered; nothing before the first."""
    return b"" if conn.parser is None else bytes(conn.parser.unreader.buf.getvalue())


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """One worker process. All but `handle`, which runs in the pool's threads, runs in the main one."""

    alive: bool

    def get_thread_pool(self) -> Threads:
        """Return what runs the threads."""
        return Threads()

    def run(self) -> None:
        """Serve until SIGTERM, and then end in good order."""
        try:
            self.serve()
        finally:
            self.tpool.shutdown(wait=False)

    def serve(self) -> None:
        """Serve until SIGTERM, and then until everybody has been answered."""
        self.door = Door(self.wsgi.extensions["webcall"])
        self.own_core = OwnCore(self.wsgi.extensions["webcall"].config.http.bind_cores)
        self.plain = PlainReader(self.cfg)
        self.tls = self.cfg.is_ssl
        self.accepted = 0
        self.addresses = {listener: listener.getsockname() for listener in self.sockets}
        self.queues = Queues(self.cfg.threads, self.door.places)
        self.silent = Parked(self.poller, SILENCE_S, self.begin)
        # gthread asks for its length, to keep room for new connections.
        self.keepalived_conns = self.idle = Parked(self.poller, self.cfg.keepalive, self.begin)
        self.half_sent = HalfSent(self.poller, SILENCE_S, self.begin)
        self.lingering = Lingering(self.poller, self.close)
        # Until when those with a thread may go on to send their request.
        self.reading: dict[Any, float] = {}
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        while self.alive and self.is_parent_alive():
            self.make_room()
            self.set_accept_enabled(self.nr_conns < self.worker_connections)
            self.turn()
        self.alive = False
        self.finish()

    def make_room(self) -> None:
        """Where there is no place for one more, let go of some that have said nothing for longest."""
        for _ in range(_ACCEPTED_AT_ONCE):
            if self.nr_conns < self.worker_connections:
                return
            conn = self.silent.longest() or self.idle.longest()
            if conn is None:
                return
            self.let_go(conn)

    def turn(self, timeout_s: float = 1.0) -> None:
        """Wait for what happens next, and see to it."""
        self.notify()
        now = time.monotonic()
        self.own_core.look(now)
        self.wait_for_and_dispatch_events(max(0.0, self.queues.next_expiry(now + timeout_s) - now))
        now = time.monotonic()
        for conn in self.queues.expired(now):
            self.turn_away(conn)
        for parked in (self.silent, self.idle):
            for conn in parked.expired(now):
                self.let_go(conn)
        for conn in self.half_sent.expired(now):
            self.begin(conn)
        for conn in self.lingering.expired(now):
            self.close(conn)
        self.stop_reading(now)
        self.door.look(now)

    def finish(self) -> None:
        """Take who is at the door, answer everybody, and end."""
        began = time.monotonic()
        for parked in (self.silent, self.idle, self.half_sent):
            # Each is answered with `Connection: close`; who says nothing meanwhile is let go.
            parked.hurry(STOP_KEEPALIVE_LINGER)
        self.set_accept_enabled(True)
        while True:
            self.accepted = 0
            self.turn(0.02)
            waited = time.monotonic() - began
            if waited > MOST_DRAIN_S or (waited > DRAIN_S and not self.accepted):
                break
        self.set_accept_enabled(False)
        # Now, and not when the last request has its answer: nobody takes who comes from now on.
        for listener in self.sockets:
            listener.close()
        while self.nr_conns > 0 and time.monotonic() - began < self.cfg.graceful_timeout:
            self.turn(0.1)
        self.poller.close()
        self.method_queue.close()

    def accept(self, listener: Any) -> None:
        """Take new connections."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, address = listener.accept()
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                    raise
                return
            self.accepted += 1
            self.nr_conns += 1
            conn = TConn(self.cfg, client, address, self.addresses[listener])
            # Its request waits for a thread, and not a thread for its request.
            conn.data_ready = True
            conn.sent = b""
            self.begin(conn)

    def begin(self, conn: Any) -> None:
        """Let a connection that may have something to say begin its request."""
        if self.tls:
            self.enqueue(conn, "call")
            return
        ahead = sent_ahead(conn)
        try:
            until, seen = self.half_sent.take(conn)
            here = conn.sock.recv(LOOKED_AT, socket.MSG_PEEK)
        except BlockingIOError:
            if not ahead:
                self.silent.add(conn)
                return
            here = b""
        except OSError:
            self.close(conn)
            return
        beginning = ahead + here
        if not beginning:
            self.close(conn)
        elif self.door.has_come(beginning) or len(here) >= LOOKED_AT:
            self.enqueue(conn, "call" if self.door.is_call(beginning) else "other", here)
        elif time.monotonic() >= until:
            # Read, since a connection that is closed with something unread is reset.
            if here:
                conn.sock.recv(LOOKED_AT)
            self.lingering.say_goodbye(conn)
        elif len(here) == seen:
            # Readable without more to read: the client has closed its side, and a thread is done at once.
            self.enqueue(conn, "other")
        else:
            self.wait_for_more(conn, until, len(here))

    def wait_for_more(self, conn: Any, until: float, seen: int) -> None:
        """Park a connection that has sent a part of its request."""
        try:
            self.half_sent.wait_for_more(conn, until, seen)
        except OSError:
            self.close(conn)

    def let_go(self, conn: Any) -> None:
        """Close a connection that has said nothing for too long.

        On a busy machine its request may have come since the poller was asked: then it begins.
        """
        try:
            has_come = not self.tls and conn.sock.recv(1, socket.MSG_PEEK)
        except OSError:
            has_come = False
        if has_come:
            self.begin(conn)
        else:
            self.close(conn)

    def enqueue(self, conn: Any, kind: Kind, sent: bytes = b"") -> None:
        """Give the connection a thread, now or when one is free, or turn it away.

        `sent` is what was seen of its request. It is not kept while the connection waits: a key stands in it.
        """
        if self.queues.take_thread(kind):
            conn.sent = sent
            self.start(conn, kind)
        elif not self.queues.take_place(conn, kind):
            self.turn_away(conn)

    def start(self, conn: Any, kind: Kind) -> None:
        """Let a thread of the pool answer a request; it has been taken for it."""
        self.reading[conn] = time.monotonic() + MOST_READING_S
        try:
            self.tpool.submit(partial(self.answer, conn, kind))
        except RuntimeError:
            # The system gives no thread, and there is none.
            del self.reading[conn]
            self.queues.give_up(kind)
            self.turn_away(conn)

    def answer(self, conn: Any, kind: Kind) -> None:
        """Answer a request, in a thread of the pool."""
        kept = False
        # What gthread lets through ends a thread; the connection is closed and the thread goes on.
        with suppress(BaseException):
            request = self.read_plainly(conn)
            kept = bool(self.handle(conn)) if request is None else answer_plainly(self, request, conn)
        self.method_queue.defer(self.after_request, conn, kind, kept, time.monotonic())

    def stop_reading(self, now: float) -> None:
        """Read nothing more of those who have sent their request for too long: one that drips has no end.

        Who has been read to the end already is answered as ever; the connection ends behind the answer.
        """
        while self.reading:
            conn, until = next(iter(self.reading.items()))
            if until > now:
                return
            del self.reading[conn]
            with suppress(OSError):
                # The plain socket's: a TLS one's own would send the answer as it is, unciphered.
                socket.socket.shutdown(conn.sock, socket.SHUT_RD)

    def read_plainly(self, conn: Any) -> PlainRequest | None:
        """Return the request if it is a plain one; what gunicorn's parser has begun, it goes on to read."""
        sent, conn.sent = conn.sent, b""
        if not self.plain.usable or conn.parser is not None:
            return None
        if not sent:
            with suppress(OSError):
                sent = conn.sock.recv(LOOKED_AT, socket.MSG_PEEK)
        return self.plain.read(sent, conn)

    def after_request(self, conn: Any, kind: Kind, kept: bool, done_at: float) -> None:
        """Give the thread to who waits for one, and keep the connection or close it."""
        self.tpool.done()
        self.reading.pop(conn, None)
        now = time.monotonic()
        for waiting, its_kind in self.queues.give_back(kind, now - done_at, now):
            self.start(waiting, its_kind)
        if not kept:
            self.lingering.say_goodbye(conn)
        else:
            conn.sock.setblocking(False)
            if sent_ahead(conn):
                # The next request has been read along with this one.
                self.begin(conn)
            else:
                self.idle.add(conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that cannot be read, with gunicorn's status and without a word of the request.

        gunicorn's own page quotes what it could not read, which may be a key.
        """
        page, request_id = ErrorPage(), new_request_id()
        request_log.begin(request_id=request_id)
        try:
            super().handle_error(req, page, addr, exc)
        finally:
            request_log.end()
        with suppress(OSError):
            client.send(not_understood(bytes(page.content), request_id))

    def turn_away(self, conn: Any) -> None:
        """Answer 503 without a thread."""
        try:
            sent = sent_ahead(conn)
            with suppress(BlockingIOError):
                # Read, since a connection that is closed with something unread is reset, its answer with it.
                sent += conn.sock.recv(65536)
            conn.sock.send(self.door.answer(sent))
        except OSError:
            self.close(conn)
        else:
            if self.door.is_whole(sent):
                self.close(conn)
            else:
                self.lingering.say_goodbye(conn)

    def close(self, conn: Any) -> None:
        """Close the connection."""
        self.nr_conns -= 1
        util.close(conn.sock)
