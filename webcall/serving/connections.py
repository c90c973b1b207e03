"""A connection's way through a worker: heard, given a thread or turned away, kept or closed."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import ThreadWorker

from webcall import request_log
from webcall.core.answer_headers import new_request_id
from webcall.serving.attended import Kept
from webcall.serving.door import LOOKED_AT, Door, ErrorPage, not_understood
from webcall.serving.half_sent import HalfSent
from webcall.serving.lingering import Lingering
from webcall.serving.parked import Parked
from webcall.serving.plain_answers import answer_plainly
from webcall.serving.plain_requests import PlainReader, PlainRequest
from webcall.serving.queues import Kind, Queues
from webcall.serving.reading import Reading


def sent_ahead(conn: Any) -> bytes:
    """Return what has been read of the request behind the one that was answered; nothing before the first."""
    return b"" if conn.parser is None else bytes(conn.parser.unreader.buf.getvalue())


class ConnectionWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """What a worker does with a connection, step by step.

    `answer`, `attend` and `not_attended`, and what they call, run in threads of their own, all else in the
    main one.
    """

    door: Door
    queues: Queues
    plain: PlainReader
    reading: Reading
    silent: Parked
    idle: Kept
    half_sent: HalfSent
    lingering: Lingering
    tls: bool

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

    def break_off(self, conn: Any) -> None:
        """Close a connection that has sent a part of its request, unless the rest has come meanwhile."""
        try:
            self.half_sent.take(conn)
            here = conn.sock.recv(LOOKED_AT, socket.MSG_PEEK)
        except OSError:
            here = b""
        if self.door.has_come(sent_ahead(conn) + here):
            self.begin(conn)
        else:
            self.close(conn)

    def enqueue(self, conn: Any, kind: Kind, sent: bytes = b"") -> None:
        """Give the connection a thread, now or when one is free, or turn it away.

        `sent` is what was seen of its request. It is not kept while the connection waits: a key stands in it.
        """
        admission = self.queues.admit(conn, kind)
        if admission == "thread":
            conn.sent = sent
            self.start(conn, kind)
        elif admission == "turned away":
            self.turn_away(conn)

    def start(self, conn: Any, kind: Kind) -> None:
        """Let a thread of the pool answer a request; it has been taken for it."""
        self.reading.begin(conn)
        try:
            self.tpool.submit(partial(self.answer, conn, kind))
        except RuntimeError:
            # The system gives no thread, and there is none.
            self.reading.end(conn)
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

    def read_plainly(self, conn: Any) -> PlainRequest | None:
        """Return the request if it is a plain one; what gunicorn's parser has begun, it goes on to read."""
        sent, conn.sent = conn.sent, b""
        if not self.plain.usable or conn.parser is not None:
            return None
        if not sent:
            with suppress(OSError):
                sent = conn.sock.recv(LOOKED_AT, socket.MSG_PEEK)
        return self.plain.read(sent, conn)

    def attend(self, conn: Any) -> bool | None:
        """Answer what a kept connection has sent, in a thread that attends to it.

        Return whether the connection can be kept; None where there is more to it than a plain request that
        a thread is free for: nothing has been read of it then.
        """
        try:
            sent = conn.sock.recv(LOOKED_AT, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        request = self.plain.read(sent, conn)
        if request is None:
            return None
        kind: Kind = "call" if self.door.is_call(sent) else "other"
        if not self.queues.take_thread(kind):
            return None
        try:
            kept = answer_plainly(self, request, conn)
            conn.sock.setblocking(False)
            return kept
        finally:
            if not self.queues.put_back(kind):
                self.method_queue.defer(self.pass_on, kind, time.monotonic())

    def not_attended(self, conn: Any, kept: bool | None) -> None:
        """Give a connection from the thread that attended to it to the main one."""
        if kept is None:
            self.method_queue.defer(self.begin, conn)
        else:
            self.method_queue.defer(self.after_answer, conn, kept)

    def after_request(self, conn: Any, kind: Kind, kept: bool, done_at: float) -> None:
        """Give the thread to who waits for one, and keep the connection or close it."""
        self.tpool.done()
        self.reading.end(conn)
        self.pass_on(kind, done_at)
        self.after_answer(conn, kept)

    def pass_on(self, kind: Kind, done_at: float) -> None:
        """Give a thread that was free at that moment to who waits for one."""
        now = time.monotonic()
        for waiting, its_kind in self.queues.give_back(kind, now - done_at, now):
            self.start(waiting, its_kind)

    def after_answer(self, conn: Any, kept: bool) -> None:
        """Keep a connection that has its answer, or close it."""
        if not kept:
            self.lingering.say_goodbye(conn)
            return
        conn.sock.setblocking(False)
        if sent_ahead(conn):
            # The next request has been read along with this one.
            self.begin(conn)
        elif self.tls or conn.parser is not None:
            self.idle.add(conn)
        else:
            self.idle.attend(conn)

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
