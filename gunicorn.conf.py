"""How gunicorn serves the application; what an operator may change stands in config.yaml.

Read by the master before any worker is made, and again on SIGHUP. SIGHUP brings changed settings;
new code needs a restart, since workers share the modules that their master has loaded.
"""

from __future__ import annotations

import atexit
import errno
import fcntl
import gc
import os
import resource
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn import glogging, systemd

from webcall import logs
from webcall.errors import ConfigError
from webcall.serving.bodies import close_behind_unread
from webcall.serving.listening import let_nobody_in
from webcall.startup import prepare

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_OWN_FOLDER = f"webcall-metrics-{os.getpid()}-"


def _share_counts() -> None:
    """Give the workers a folder to count in together, unless there is one from an earlier reading.

    prometheus_client looks for it when it is imported. A folder that the operator names is theirs to
    empty before a start; one that another master made, whose environment this one has, is not ours.
    """
    known = Path(os.environ.get(_FOLDER, ""))
    # What cleans temporary files may have removed it: a worker that finds none ends, and the master with it.
    ours = known.name.startswith(_OWN_FOLDER) and known.is_dir()
    if ours or (known.name and not known.name.startswith("webcall-metrics-")):
        return
    folder = os.environ[_FOLDER] = tempfile.mkdtemp(prefix=_OWN_FOLDER)
    # systemd-tmpfiles leaves one that is locked alone (tmpfiles.d(5), "Age"): until the master ends.
    with suppress(OSError):
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)
    atexit.register(_remove, folder, os.getpid())


def _remove(folder: str, owner: int) -> None:
    """Remove the folder at the end of the master; its workers inherit this."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


_share_counts()

# Loaded once for all workers, so that they share its memory and start at once. No connection and no
# thread is made by it: those belong to a worker.
import webcall.app  # noqa: E402  # imports prometheus_client, which looks for the folder
from webcall.core import shared_counts  # noqa: E402  # so does this
from webcall.http import playground  # noqa: E402  # so does this

try:
    _setup = prepare()
    playground.check(_setup.config)
except ConfigError as error:
    # Here and not in a worker: one that fails to start would be started again for ever.
    print(*error.faults, sep="\n", file=sys.stderr, flush=True)  # noqa: T201  # for the operator
    sys.exit(2)

_config = _setup.config


def _raise_limit_of_open_files(wanted: int) -> int:
    """Return how many files a worker may hold open, at most `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Logger(glogging.Logger):
    """gunicorn's logger without access lines, which the service writes itself, and without quotations."""

    def access(self, *_: Any) -> None:
        """Write nothing."""

    def warning(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Warn; of a malformed request without the line that is malformed: it may hold a key."""
        if str(msg).startswith("Invalid request from ip="):
            msg = str(msg).partition(": ")[0]
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: object, *args: Any, **kwargs: Any) -> None:
        """Tell of an error; of a client that sends or takes nothing for too long only where asked."""
        if isinstance(sys.exc_info()[1], BlockingIOError) and str(msg).startswith("Socket error"):
            self.debug("Closing a connection that has stalled.")
        else:
            super().exception(msg, *args, **kwargs)


wsgi_app = "wsgi:app"
bind = _config.http.bind
workers = _config.http.workers
worker_class = "webcall.serving.worker.Worker"
threads = _config.http.threads
# Kept-alive connections count, and a worker that runs out of descriptors can neither take nor make any.
worker_connections = max(threads + 1, min(4096, _raise_limit_of_open_files(8192) // 2))
keepalive = 75
timeout = 60  # a worker whose main loop, not a request, has been stuck for so many seconds is replaced
graceful_timeout = 30
# A bearer token of an identity provider can be long; gunicorn takes 0 to mean 8190.
limit_request_field_size = 65536
logger_class = Logger
loglevel = _config.log.level
logconfig_dict = logs.dict_config(_config.log)
# It would be one socket in the home directory for all services of this user, and nothing here needs it.
control_socket_disable = True


_PATIENCE_S = 10


class _SettingsRefused(Exception):
    """The settings read on SIGHUP cannot be used."""


def on_starting(server: Arbiter) -> None:
    """End with one line if an address is taken; gunicorn would try five times and tell of each."""
    if server.master_pid or server.cfg.reuse_port or systemd.listen_fds(unset_environment=False):
        return  # the listening sockets come from the master that this one replaces, or from systemd
    if _tell_fault_of(server.cfg.address):
        sys.exit(1)


def _tell_fault_of(addresses: list[Any]) -> bool:
    """Print a line for each address at which nobody can listen; return whether there is one."""
    found = False
    for address in addresses:
        if isinstance(address, tuple) and (fault := _fault_of(*address)):
            line = f"http.bind: {address[0]}:{address[1]}: {fault}; WEBCALL_BIND sets another address"
            print(line, file=sys.stderr, flush=True)  # noqa: T201  # for the operator
            found = True
    return found


def _fault_of(host: str, port: int) -> str | None:
    """Return why nobody can listen at `host`:`port`, or None."""
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found[:1]:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        return "in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
    return None


def when_ready(server: Arbiter) -> None:
    """See to it that a SIGHUP with broken settings changes nothing.

    gunicorn's master would end where this file ends the start, or replace its workers by such as
    cannot start.
    """
    read_settings, reload = server.app.reload, server.reload

    def read_or_refuse() -> None:
        running = server.app.cfg
        try:
            read_settings()
        except SystemExit as error:
            server.app.cfg = running
            raise _SettingsRefused from error
        if _tell_fault_of([one for one in server.app.cfg.address if one not in running.address]):
            # gunicorn would have closed the sockets that work before it tries those that do not.
            server.app.cfg = running
            raise _SettingsRefused

    def reload_or_go_on() -> None:
        try:
            reload()
        except _SettingsRefused:
            server.log.error("settings refused: the workers go on with the old ones")

    server.app.reload, server.reload = read_or_refuse, reload_or_go_on
    _lose_nobody_at_the_end(server)


def _lose_nobody_at_the_end(server: Arbiter) -> None:
    """See to it that on SIGTERM no connection comes that no worker takes any more."""
    stop = server.stop

    def stop_in_order(graceful: bool = True) -> None:
        # Sockets that another master or systemd has too live on.
        ours = server.reexec_pid == 0 and server.master_pid == 0 and not server.systemd
        if graceful and ours:
            let_nobody_in(listener.sock for listener in server.LISTENERS)
        stop(graceful)

    server.stop = stop_in_order


def pre_fork(server: Arbiter, worker: Worker) -> None:
    """See to the folder to count in, and take what is loaded out of the garbage collector's sight.

    That one writes into each object that it looks at, and a page that is written to is the worker's own from
    then on: half of a worker's memory (benchmarks/start_up.py). See Python's documentation of gc.freeze.
    """
    _share_counts()
    # Not unfrozen first: that would have the collector write into what earlier workers share. What the
    # settings before a SIGHUP leave behind stays, some hundred objects each time.
    gc.collect()
    gc.freeze()


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Give a worker the settings that were checked, whatever has become of config.yaml since."""
    # Until it has handlers of its own it has the master's, which put a signal where nobody looks in this
    # process: the master would wait for a worker that was never told. Nobody has been let in yet.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    worker.app.callable = webcall.app.create_app(_setup)


def post_worker_init(worker: Worker) -> None:
    """Tell the services how many threads they have, and make the backends before a request needs them."""
    services = worker.wsgi.extensions["webcall"]
    services.use_threads(worker.cfg.threads)
    # In a thread: a large file takes seconds to index, and this worker has to show that it lives.
    threading.Thread(target=services.warm_up, name="warm up", daemon=True).start()
    _bound_waiting(worker)


def pre_request(worker: Worker, request: Any) -> None:
    """Announce it where the connection will be closed."""
    close_behind_unread(request)


def _bound_waiting(worker: Worker) -> None:
    """Let no client hold a request thread by sending or taking nothing for so long.

    gthread reads requests and writes answers with blocking sockets; on Linux, those that are accepted
    have the timeouts of the listening one.
    """
    for listener in worker.sockets:
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", _PATIENCE_S, 0))


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Forget what a worker that is gone had in flight; its counts stay."""
    shared_counts.bury(worker.pid)


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """Give the worker's connections and threads back."""
    application = getattr(worker, "wsgi", None)
    if application is not None:
        application.extensions["webcall"].close()
