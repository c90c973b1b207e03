"""The client of this process, and the one place where the driver's errors are translated."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pymongo
from bson.errors import BSONError
from dns.exception import DNSException
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import ConnectionFailure, NetworkTimeout, NotPrimaryError, OperationFailure, PyMongoError

from plugins.mongo.names import looked_up_within
from webcall import BackendError

Document = dict[str, Any]

POOL_SIZE = 64
# Nothing longer is an id or a key of a stored document; the driver cannot send more than 16 MiB.
LONGEST_VALUE = 1 << 20


class Connection:
    """One database. Opens nothing before it is first used, and never uses a client across a fork."""

    def __init__(self, uri: str, database: str, timeout_s: float) -> None:
        self._uri = uri
        self._database = database
        self.timeout_s = timeout_s
        self._hosts = re.split(r"[/?]", uri.partition("://")[2])[0].rpartition("@")[2]
        # A client of another process stays here untouched: its sockets and locks belong to that one.
        self._clients: dict[int, _Client] = {}

    def collection(self, name: str) -> Collection[Document]:
        """Return a collection of this process's client."""
        return self._client().get_database(self._database).get_collection(name)

    def ping(self) -> None:
        """Raise `BackendError` if no server answers within the timeout."""
        with self.bounded():
            self._client().admin.command("ping")

    def close(self) -> None:
        """Close this process's client, if there is one."""
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            with self.translated():
                client.driver.close()

    @contextmanager
    def bounded(self, timeout_s: float | None = None) -> Iterator[None]:
        """Bound everything inside to the timeout in all, and translate the driver's errors."""
        within_s = self.timeout_s if timeout_s is None else timeout_s
        with self.translated(), pymongo.timeout(within_s), looked_up_within(within_s):
            yield

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the driver's errors into `BackendError`, with a message that may stand in a log.

        Without `bounded`, every command inside has the timeout for itself: right for a cursor.
        """
        try:
            yield
        except (PyMongoError, BSONError, OSError) as error:
            if isinstance(error, NetworkTimeout):
                self._replace_client()
            # `from None`: the driver's own text can quote queries and documents.
            raise BackendError(f"MongoDB at {self._hosts}: {self._describe(error)}") from None

    def _client(self) -> MongoClient[Document]:
        pid = os.getpid()
        client = self._clients.get(pid)
        if client is None:
            # No lock, which a fork could leave locked for ever: an unused client has nothing open,
            # so of two threads that get here together, one throws its client away.
            client = self._clients.setdefault(pid, _Client(self._new_client(), time.monotonic()))
        return client.driver

    def _replace_client(self) -> None:
        """Use a new client from now on: a kept connection was silent for the whole time.

        The others may be half-open as well, without a peer and nobody was told, and each would cost a
        request its whole time; the driver drops the one alone.
        """
        pid = os.getpid()
        client = self._clients.get(pid)
        # One that is younger than the request that failed is not the one that it used.
        if client is None or time.monotonic() - client.made_at < self.timeout_s:
            return
        # It may be a newer one by now, which another thread has put in: that is closed as well.
        replaced = self._clients.pop(pid, None)
        if replaced is not None:
            # What asks by it ends first.
            closing = threading.Timer(2 * self.timeout_s, replaced.driver.close)
            closing.daemon = True
            closing.start()

    def _new_client(self) -> MongoClient[Document]:
        timeout_ms = max(1, round(self.timeout_s * 1000))
        return MongoClient(
            self._uri,
            connect=False,
            appname="webcall",
            maxPoolSize=POOL_SIZE,
            timeoutMS=timeout_ms,
            serverSelectionTimeoutMS=timeout_ms,
            connectTimeoutMS=timeout_ms,
            waitQueueTimeoutMS=timeout_ms,
            tz_aware=True,
            # A date past the year 9999, "never" to other languages, must not make a document unreadable.
            datetime_conversion="DATETIME_CLAMP",
        )

    def _describe(self, error: Exception) -> str:
        name = type(error).__name__
        if isinstance(error, OperationFailure):
            details = error.details or {}
            code_name = str(details.get("codeName") or "")
            return f"{name}: code {error.code}" + (f" ({code_name})" if code_name.isalnum() else "")
        if isinstance(error, ConnectionFailure) and not isinstance(error, NotPrimaryError):
            # Address and cause, without what the driver adds of its settings and the server's answer.
            cause = re.split(r", full error|, Timeout:| \(configured timeouts", str(error), maxsplit=1)[0]
            return f"{name}: {' '.join(cause.split())[:300]} (timeout {self.timeout_s:g} s)"
        if isinstance(error.__cause__, DNSException):
            # Of mongodb+srv:// the driver asks DNS itself.
            return f"{name}: DNS does not know or tell its servers ({type(error.__cause__).__name__})"
        return name


@dataclass(frozen=True, slots=True)
class _Client:
    """A client, and when it was made, by the monotonic clock."""

    driver: MongoClient[Document]
    made_at: float


def can_be_asked(value: str) -> bool:
    """Return whether a string can stand in a query: one that cannot is in no document either."""
    try:
        return len(value.encode()) <= LONGEST_VALUE
    except UnicodeEncodeError:
        return False
