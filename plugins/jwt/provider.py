"""The provider's keys: fetched in the background, kept, and fetched anew for a key that is not among them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from plugins.jwt.jwks import SigningKey, Unusable, fetch
from webcall import BackendError

MOST_WAITING = 64
"""Threads that may wait for a key that is not known: anybody can name one."""

log = logging.getLogger("plugins.jwt")


class Keys:
    """The signing keys of one provider. Its thread starts with the first question, after any fork."""

    def __init__(
        self,
        *,
        issuer: str,
        jwks_url: str,
        algorithms: Sequence[str],
        timeout_s: float,
        refresh_s: float,
        retry_s: float,
        serve_stale_s: float,
        ca_file: str,
    ) -> None:
        self._address: dict[str, Any] = {
            "issuer": issuer,
            "jwks_url": jwks_url,
            "algorithms": frozenset(algorithms),
            "timeout_s": timeout_s,
            "ca_file": ca_file,
        }
        self._timeout_s = timeout_s
        self._refresh_s = refresh_s
        self._retry_s = retry_s
        self._serve_stale_s = serve_stale_s
        self._changed = threading.Condition()
        self._process = 0
        self._thread: threading.Thread | None = None
        self._found: tuple[SigningKey, ...] = ()
        self._good_at: float | None = None
        self._tried_at = float("-inf")
        # Why the last fetch came to nothing; None if it did not.
        self._fault: str | None = None
        self._waiting = 0
        self._wanted = False
        self._trying = False
        self._closed = False

    def find(self, key_id: str | None, algorithm: str) -> SigningKey | None:
        """Return the key for a token's `kid` and `alg`; None if the provider has none such.

        A token without a `kid` gets the only key for its algorithm. Raises `BackendError` while the
        provider cannot be asked and what is kept of it is too old, or may lack this key.
        """
        with self._changed:
            self._be_ready()
            found = self._pick(key_id, algorithm)
            if found is not None:
                return found
            # Unknown: a new one of the provider's, or an invention. At most so often this is looked up.
            if self._fault is None and (self._trying or self._may_try()):
                if self._waiting >= MOST_WAITING or not self._wait():
                    raise BackendError("jwt: too long a wait for a key that is not among those kept")
                found = self._pick(key_id, algorithm)
            if found is None and self._fault is not None:
                raise BackendError(f"jwt: a key that is not among those kept, and no new ones: {self._fault}")
            return found

    def ping(self) -> str | None:
        """Return a reason if kept keys are all there is; raise `BackendError` if they are too old, too."""
        with self._changed:
            self._be_ready()
            return None if self._fault is None else f"its keys are kept, and not renewed: {self._fault}"

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=self._timeout_s + 1)

    def _start(self) -> None:
        # A thread does not survive a fork: the child of a process that had one starts its own.
        if self._process != os.getpid():
            self._process, self._closed, self._trying, self._wanted = os.getpid(), False, False, True
            self._thread = threading.Thread(target=self._work, name="jwt keys", daemon=True)
            self._thread.start()

    def _may_try(self) -> bool:
        return time.monotonic() - self._tried_at >= self._retry_s

    def _wait(self) -> bool:
        """Let a fetch happen, and wait for its end as long as one may take; return whether it came."""
        before = self._tried_at
        if not self._trying:
            self._wanted = True
            self._changed.notify_all()
        self._waiting += 1
        try:
            return self._changed.wait_for(lambda: self._tried_at != before, timeout=self._timeout_s)
        finally:
            self._waiting -= 1

    def _be_ready(self) -> None:
        """Start the thread, and wait for the very first fetch. Raises `BackendError` without usable keys."""
        self._start()
        if self._good_at is None and self._fault is None:
            self._wait()
        why = self._fault or "it does not answer in time"
        if self._good_at is None:
            raise BackendError(f"jwt: the provider's keys cannot be fetched: {why}")
        if time.monotonic() - self._good_at > self._refresh_s + self._serve_stale_s:
            raise BackendError(f"jwt: the provider's keys are too old to go on with, and no new ones: {why}")

    def _pick(self, key_id: str | None, algorithm: str) -> SigningKey | None:
        fitting = [key for key in self._found if algorithm in key.algorithms]
        if key_id is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.id == key_id), None)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._closed or self._due()):
                    self._changed.wait(self._pause())
                if self._closed:
                    self._process = 0
                    return
                self._wanted, self._trying = False, True
            found, fault = self._try()
            with self._changed:
                before, self._fault, self._trying = self._fault, fault, False
                self._tried_at = time.monotonic()
                if found is not None:
                    self._found, self._good_at = found, self._tried_at
                self._changed.notify_all()
            if fault is not None and before is None:
                log.warning("the provider's keys cannot be fetched: %s", fault)
            elif fault is None and before is not None:
                log.info("the provider's keys are fetched again")

    def _due(self) -> bool:
        return self._wanted or time.monotonic() >= self._next_at()

    def _next_at(self) -> float:
        return self._tried_at + (self._refresh_s if self._fault is None else self._retry_s)

    def _pause(self) -> float:
        return max(0.01, self._next_at() - time.monotonic())

    def _try(self) -> tuple[tuple[SigningKey, ...] | None, str | None]:
        try:
            return fetch(**self._address), None
        except Unusable as error:
            return None, str(error)
        except TimeoutError:
            return None, "it does not answer in time"
        except Exception as error:
            # Its text may hold more of the address than belongs in a log.
            return None, type(error).__name__
