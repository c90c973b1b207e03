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
import time
from typing import Any

import structlog
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER, TConn

from webcall.serving.attended import Kept
from webcall.serving.connections import ConnectionWorker
from webcall.serving.door import Door
from webcall.serving.half_sent import HalfSent
from webcall.serving.lingering import Lingering
from webcall.serving.own_core import OwnCore
from webcall.serving.parked import Parked
from webcall.serving.plain_requests import PlainReader
from webcall.serving.queues import Queues
from webcall.serving.reading import Reading
from webcall.serving.threads import Threads

log = structlog.stdlib.get_logger("webcall.serving")

# A new connection that says nothing for so long is closed; gthread reads with a patience of its own.
SILENCE_S = 10.0
# After SIGTERM: at least so long, and until the listening socket is empty, connections are taken.
DRAIN_S, MOST_DRAIN_S = 0.2, 3.0
_ACCEPTED_AT_ONCE = 8
# Where the system gives no more of them, connections are taken again after so long.
_NO_FILES = (errno.EMFILE, errno.ENFILE)
_PAUSE_S = 0.2


class Worker(ConnectionWorker):
    """One worker process, from its beginning to its end."""

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
        self.accept_after = 0.0
        self.told_of_files = False
        self.addresses = {listener: listener.getsockname() for listener in self.sockets}
        self.queues = Queues(self.cfg.threads, self.door.places)
        self.silent = Parked(self.poller, SILENCE_S, self.begin)
        # gthread asks for its length, to keep room for new connections.
        self.keepalived_conns = self.idle = Kept(
            self.poller, self.cfg.keepalive, self.begin, self.attend, self.not_attended
        )
        self.half_sent = HalfSent(self.poller, SILENCE_S, self.begin)
        self.lingering = Lingering(self.poller, self.close)
        self.reading = Reading()
        self.poller.register(
            self.method_queue.fileno(), selectors.EVENT_READ, self.method_queue.run_callbacks
        )
        self.set_accept_enabled(True)
        while self.alive and self.is_parent_alive():
            self.make_room()
            pauses = time.monotonic() < self.accept_after
            self.set_accept_enabled(self.nr_conns < self.worker_connections and not pauses)
            self.turn(_PAUSE_S if pauses else 1.0)
        self.alive = False
        self.finish()

    def accept(self, listener: Any) -> None:
        """Take new connections."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, address = listener.accept()
            except OSError as error:
                if error.errno in _NO_FILES and self.nr_conns:
                    self.have_no_files()
                elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                    raise
                return
            self.accepted += 1
            self.nr_conns += 1
            conn = TConn(self.cfg, client, address, self.addresses[listener])
            # Its request waits for a thread, and not a thread for its request.
            conn.data_ready = True
            conn.sent = b""
            self.begin(conn)

    def make_room(self) -> None:
        """Where there is no place for one more, let go of some that have said nothing for longest.

        Those that have sent a part of a request are among them: a byte of each would keep all others out.
        """
        for _ in range(_ACCEPTED_AT_ONCE):
            if self.nr_conns < self.worker_connections or not self.let_one_go():
                return

    def let_one_go(self) -> bool:
        """Let go of the connection that has said nothing for longest; False if there is none."""
        # One that has just come, and has said nothing yet, is not the first to go.
        parked = min(self.silent, self.idle, self.half_sent, key=lambda parked: parked.first_since())
        conn = parked.longest()
        if conn is None:
            return False
        if parked is self.half_sent:
            self.break_off(conn)
        else:
            self.let_go(conn)
        return True

    def have_no_files(self) -> None:
        """Let go of a connection where the system gives no more open files, or wait until some are free.

        A worker that ended would take with it all that it is answering. Where there is nobody left, it ends:
        another one may have more.
        """
        if not self.told_of_files:
            self.told_of_files = True
            log.error("no more open files", connections=self.nr_conns)
        if not self.let_one_go():
            self.accept_after = time.monotonic() + _PAUSE_S

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
        self.reading.stop(now)
        self.door.look(now)

    def finish(self) -> None:
        """Take who is at the door, answer everybody, and end."""
        began = time.monotonic()
        for parked in (self.silent, self.idle):
            # Each is answered with `Connection: close`; who says nothing meanwhile is let go. Who has sent a
            # part of a request may send the rest, as ever.
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
