"""The provider's keys: fetched in the background, kept, and fetched anew for a key that is not among them."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import jwt
import urllib3
from marshmallow import ValidationError

from plugins.jwt.settings import check_address
from webcall import BackendError

LARGEST_ANSWER = 1 << 18
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}

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
        self._issuer = issuer
        self._jwks_url = jwks_url
        self._algorithms = algorithms
        self._timeout_s = timeout_s
        self._refresh_s = refresh_s
        self._retry_s = retry_s
        self._serve_stale_s = serve_stale_s
        self._ca_file = ca_file or None
        self._changed = threading.Condition()
        self._process = 0
        self._thread: threading.Thread | None = None
        self._found: tuple[jwt.PyJWK, ...] = ()
        self._good_at: float | None = None
        self._tried_at = float("-inf")
        self._failed = False
        self._wanted = False
        self._trying = False
        self._closed = False

    def find(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        """Return the key for a token's `kid` and `alg`; None if the provider has none such.

        A token without a `kid` gets the only key of its kind. Raises `BackendError` while the provider
        cannot be asked and what is kept of it is too old, or may lack this key.
        """
        with self._changed:
            self._start()
            if self._good_at is None and not self._failed:
                self._wait()
            self._check_age()
            found = self._pick(key_id, algorithm)
            if found is not None:
                return found
            # Unknown: a new one of the provider's, or an invention. At most so often this is looked up.
            if not self._failed and (self._trying or self._may_try()):
                self._wait()
                found = self._pick(key_id, algorithm)
            if found is None and self._failed:
                raise BackendError("jwt: the provider does not answer, and this key is not among those kept")
            return found

    def ping(self) -> str | None:
        """Return a reason if kept keys are all there is; raise `BackendError` if they are too old, too."""
        with self._changed:
            self._start()
            if self._good_at is None and not self._failed:
                self._wait()
            self._check_age()
            return "the provider does not answer; its keys are kept" if self._failed else None

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

    def _wait(self) -> None:
        """Let a fetch happen, and wait for its end as long as one may take."""
        before = self._tried_at
        if not self._trying:
            self._wanted = True
            self._changed.notify_all()
        self._changed.wait_for(lambda: self._tried_at != before, timeout=self._timeout_s)

    def _check_age(self) -> None:
        if self._good_at is None:
            raise BackendError("jwt: the provider's keys could not be fetched yet")
        if time.monotonic() - self._good_at > self._refresh_s + self._serve_stale_s:
            raise BackendError("jwt: the provider does not answer, and its keys are too old to go on with")

    def _pick(self, key_id: str | None, algorithm: str) -> jwt.PyJWK | None:
        of_kind = [key for key in self._found if _fits(key, algorithm)]
        if key_id is None:
            return of_kind[0] if len(of_kind) == 1 else None
        return next((key for key in of_kind if key.key_id == key_id), None)

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
                begins, ends = not self._failed and fault is not None, self._failed and fault is None
                self._trying, self._failed = False, fault is not None
                self._tried_at = time.monotonic()
                if found is not None:
                    self._found, self._good_at = found, self._tried_at
                self._changed.notify_all()
            if begins:
                log.warning("the provider's keys cannot be fetched: %s", fault)
            if ends:
                log.warning("the provider's keys are fetched again")

    def _due(self) -> bool:
        return self._wanted or time.monotonic() >= self._next_at()

    def _next_at(self) -> float:
        return self._tried_at + (self._retry_s if self._failed else self._refresh_s)

    def _pause(self) -> float:
        return max(0.01, self._next_at() - time.monotonic())

    def _try(self) -> tuple[tuple[jwt.PyJWK, ...] | None, str | None]:
        try:
            return self._fetch(), None
        except ValidationError:
            return None, "its document names a jwks_uri that is not encrypted"
        except _Unusable as error:
            return None, str(error)
        except Exception as error:
            return None, type(error).__name__

    def _fetch(self) -> tuple[jwt.PyJWK, ...]:
        until = time.monotonic() + self._timeout_s
        with urllib3.PoolManager(ca_certs=self._ca_file, retries=False) as pool:
            url = self._jwks_url
            if not url:
                document = _get(pool, self._issuer.rstrip("/") + "/.well-known/openid-configuration", until)
                if document.get("issuer") != self._issuer:
                    raise _Unusable("its document is of another issuer")
                url = str(document.get("jwks_uri"))
                check_address(url)
            listed = _get(pool, url, until).get("keys")
        found = tuple(filter(None, map(self._usable, listed if isinstance(listed, list) else [])))
        if not found:
            raise _Unusable("it has no key for signatures of the allowed algorithms")
        return found

    def _usable(self, entry: Any) -> jwt.PyJWK | None:
        """Return a key of the set, or None for one of another use or kind (RFC 7517, section 5)."""
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            return None
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError:
            return None
        return key if any(_fits(key, algorithm) for algorithm in self._algorithms) else None


class _Unusable(Exception):
    """What the provider answered cannot be used; says why, without quoting it."""


def _fits(key: jwt.PyJWK, algorithm: str) -> bool:
    """Return whether a key is one for an algorithm: never another's, whatever the token says."""
    if key.key_type != _KINDS.get(algorithm[:2]):
        return False
    # PyJWT names the curve's own algorithm, or the one that the set names, which binds it.
    return key.algorithm_name == algorithm or (key.key_type == "RSA" and "alg" not in key._jwk_data)


def _get(pool: urllib3.PoolManager, url: str, until: float) -> dict[str, Any]:
    """Return the JSON object at an address, bounded in size and, as a whole, in time."""
    left = _left(until)
    answer = pool.request(
        "GET", url, redirect=False, preload_content=False, timeout=left, decode_content=False
    )
    try:
        if answer.status != 200:
            raise _Unusable(f"it answered {answer.status}")
        parts, size = [], 0
        # Bytes as they come: a server that drips them may not keep this for ever.
        while part := answer.read1(65536):
            parts.append(part)
            size += len(part)
            if size > LARGEST_ANSWER:
                raise _Unusable("its answer is too large")
            _left(until)
        found = json.loads(b"".join(parts))
    finally:
        answer.close()
    if not isinstance(found, dict):
        raise _Unusable("its answer is no JSON object")
    return found


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise _Unusable("it does not answer in time")
    return left
