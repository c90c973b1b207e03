"""Look-ups of host names, for which nobody has to wait to their end.

The system's own look-up knows no timeout and cannot be ended: where no name server answers, it takes for as
long as the system likes, 5 s twice for each by default (resolv.conf(5)).
"""

from __future__ import annotations

import copy
import ipaddress
import os
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

# Who asks later begins another: a question or an answer may be lost, which the system notices after 5 s.
SHARED_FOR_S = 1.0
# Each further one that is under way doubles that, up to 5 s. So there are enough of them for the 30 s that
# the system takes for three dead servers, and whenever these are back, a fresh look-up begins soon.
MOST_TIMES_SHARED_FOR = 5
MOST_AT_ONCE = 8

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]
"""One of those that `socket.getaddrinfo` returns."""


class _Found(Future[Sequence[AddressInfo]]):
    """Raises an error of each waiter's own: the traceback of a shared one gathers the frames of all."""

    def result(self, timeout: float | None = None) -> Sequence[AddressInfo]:
        error = self.exception(timeout)
        if error is None:
            return super().result()
        try:
            raise error
        finally:
            # The error holds this frame.
            del error

    def exception(self, timeout: float | None = None) -> BaseException | None:
        return copy.copy(super().exception(timeout))


class _LookUp(NamedTuple):
    began: float
    found: _Found

    def is_shared(self, under_way: int) -> bool:
        times = min(2 ** (under_way - 1), MOST_TIMES_SHARED_FOR)
        return under_way >= MOST_AT_ONCE or time.monotonic() - self.began < SHARED_FOR_S * times


class Resolver:
    """Looks up host names in threads of its own. May be used in any thread.

    Those who ask for a name within a second share one look-up; within up to five seconds, while more of that
    name hang. However many ask, eight are under way for a name at most: the rest share the last one of these.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._running: dict[tuple[str, int], list[_LookUp]] = {}

    def addresses(self, host: str, port: int) -> Future[Sequence[AddressInfo]]:
        """Return what will hold the addresses for a TCP connection, or the `OSError` of the look-up.

        Each who waits is raised an error of its own. Cancelling it has no effect. An address needs no
        look-up: what is returned holds it already.
        """
        if _is_address(host):
            found = _Found()
            _ask(found, host, port, socket.AI_NUMERICHOST)
            return found
        with self._lock:
            if self._pid != os.getpid():
                # After a fork: their threads are the parent's.
                self._pid, self._running = os.getpid(), {}
            running = self._running.get((host, port), [])
            if running and running[-1].is_shared(len(running)):
                return running[-1].found
            begun = _LookUp(time.monotonic(), _Found())
            try:
                self._begin(begun.found, host, port)
            except RuntimeError:
                begun.found.set_exception(OSError("no thread can be started to look up its name"))
            else:
                self._running[host, port] = [*running, begun]
            return begun.found

    def _begin(self, found: _Found, host: str, port: int) -> None:
        # From now on it cannot be cancelled: others may wait for it.
        found.set_running_or_notify_cancel()

        def look_up() -> None:
            _ask(found, host, port)
            self._forget(host, port, found)

        # The end of the process does not wait for a thread like this one, as it would for an executor's.
        threading.Thread(target=look_up, name=f"look-up of {host}", daemon=True).start()

    def _forget(self, host: str, port: int, found: _Found) -> None:
        with self._lock:
            left = [each for each in self._running.get((host, port), ()) if each.found is not found]
            if left:
                self._running[host, port] = left
            else:
                self._running.pop((host, port), None)


def _ask(found: _Found, host: str, port: int, flags: int = 0) -> None:
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    except OSError as error:
        found.set_exception(error)
    except Exception:
        # A name that no look-up can be made of is a `UnicodeError`, which nobody expects.
        found.set_exception(OSError("its name cannot be looked up"))
    else:
        found.set_result(addresses)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
